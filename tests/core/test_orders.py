"""The states of an order and the ways between them."""

import pytest

from seawall.core.orders import TRANSITIONS, OrderState

FINAL = {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}
OPEN = set(OrderState) - FINAL


def reachable(start: OrderState) -> set[OrderState]:
    seen, todo = {start}, [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_every_state_has_its_ways_out_written_down() -> None:
    assert set(TRANSITIONS) == set(OrderState)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_leads_out_of_a_final_state(state: OrderState) -> None:
    assert state.final
    assert TRANSITIONS[state] == frozenset()


@pytest.mark.parametrize("state", sorted(OPEN))
def test_an_open_order_can_still_end_in_some_final_state(state: OrderState) -> None:
    assert not state.final
    assert reachable(state) & FINAL


def test_every_state_can_be_reached_from_the_intent_and_none_leads_back_to_it() -> None:
    assert reachable(OrderState.INTENT) == set(OrderState)
    assert all(OrderState.INTENT not in ways for ways in TRANSITIONS.values())


def test_an_order_is_sent_once() -> None:
    into = {state for state, ways in TRANSITIONS.items() if OrderState.SENT in ways}
    assert into == {OrderState.INTENT}


def test_an_order_that_has_not_left_can_only_leave_or_be_dropped() -> None:
    assert TRANSITIONS[OrderState.INTENT] == {OrderState.SENT, OrderState.CANCELED}


@pytest.mark.parametrize("state", sorted(OPEN - {OrderState.INTENT}))
def test_an_order_that_has_left_may_turn_out_unknown_or_filled(state: OrderState) -> None:
    assert {OrderState.UNKNOWN, OrderState.FILLED} <= TRANSITIONS[state]


def test_what_was_accepted_can_no_longer_be_rejected() -> None:
    into = {state for state, ways in TRANSITIONS.items() if OrderState.REJECTED in ways}
    assert into == {OrderState.SENT, OrderState.UNKNOWN}


def test_a_partly_filled_order_is_not_new_again() -> None:
    assert OrderState.NEW not in TRANSITIONS[OrderState.PARTIALLY_FILLED]
