"""What the exchange says no with: the protocol's error codes, their texts and HTTP statuses."""


class RefusalError(Exception):
    """An answer that is an error.

    Attributes:
        code: the protocol's, below 0. text: its `msg`. status: of HTTP.
        retry_after: seconds, where the client must wait; 0: none.
    """

    def __init__(self, code: int, text: str, status: int = 400, retry_after: int = 0) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.status = status
        self.retry_after = retry_after


# --- the request ---


def unknown_path() -> RefusalError:
    return RefusalError(-1020, "This operation is not supported.", 404)


def unsupported(what: str) -> RefusalError:
    """Something of the protocol that this exchange does not have."""
    return RefusalError(-1020, f"This operation is not supported. {what}")


def late_timestamp() -> RefusalError:
    return RefusalError(-1021, "Timestamp for this request is outside of the recvWindow.")


def early_timestamp() -> RefusalError:
    return RefusalError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")


def bad_signature() -> RefusalError:
    return RefusalError(-1022, "Signature for this request is not valid.")


def bad_key_format() -> RefusalError:
    return RefusalError(-2014, "API-key format invalid.", 401)


def bad_key() -> RefusalError:
    return RefusalError(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def illegal(name: str) -> RefusalError:
    return RefusalError(-1100, f"Illegal characters found in parameter '{name}'.")


def missing(name: str) -> RefusalError:
    return RefusalError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def either(first: str, second: str) -> RefusalError:
    return RefusalError(
        -1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    )


def empty(name: str) -> RefusalError:
    return RefusalError(-1105, f"Parameter '{name}' was empty.")


def not_required(name: str) -> RefusalError:
    return RefusalError(-1106, f"Parameter '{name}' sent when not required.")


def bad_symbol() -> RefusalError:
    return RefusalError(-1121, "Invalid symbol.")


def bad_interval() -> RefusalError:
    return RefusalError(-1120, "Invalid interval.")


def bad_combination(why: str = "") -> RefusalError:
    return RefusalError(
        -1128, f"Combination of optional parameters invalid.{' ' + why if why else ''}"
    )


def bad_listen_key() -> RefusalError:
    return RefusalError(-1125, "This listenKey does not exist.")


# --- limits ---


def too_much_weight(limit: int, seconds: int) -> RefusalError:
    text = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return RefusalError(-1003, text, 429, seconds)


def banned(until_ms: int, seconds: int) -> RefusalError:
    text = (
        f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket "
        "Streams for live updates to avoid bans."
    )
    return RefusalError(-1003, text, 418, seconds)


def too_many_orders(limit: int, interval: str, seconds: int) -> RefusalError:
    text = f"Too many new orders; current limit is {limit} orders per {interval}."
    return RefusalError(-1015, text, 429, seconds)


# --- orders ---


def filtered(name: str) -> RefusalError:
    return RefusalError(-1013, f"Filter failure: {name}")


def rejected(text: str) -> RefusalError:
    """A new order that spot does not take."""
    return RefusalError(-2010, text)


def duplicate_client_id(futures: bool) -> RefusalError:
    if futures:
        return RefusalError(-4116, "ClientOrderId is duplicated.")
    return rejected("Duplicate order sent.")


def unknown_order() -> RefusalError:
    return RefusalError(-2011, "Unknown order sent.")


def no_such_order() -> RefusalError:
    return RefusalError(-2013, "Order does not exist.")


def no_margin() -> RefusalError:
    return RefusalError(-2019, "Margin is insufficient.")


def at_once(futures: bool) -> RefusalError:
    if futures:
        return RefusalError(-2021, "Order would immediately trigger.")
    return rejected("Stop price would trigger immediately.")


def not_maker(futures: bool) -> RefusalError:
    if futures:
        return RefusalError(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be "
            "rejected. The order will not be recorded in the order history",
        )
    return rejected("Order would immediately match and take.")


def reduces_nothing() -> RefusalError:
    return RefusalError(-2022, "ReduceOnly Order is rejected.")


def of_reason(reason: str, futures: bool) -> RefusalError:
    """What the simulated venue's reason for a rejection is in the protocol."""
    for begins, refusal in (
        ("insufficient margin", no_margin()),
        ("insufficient", rejected("Account has insufficient balance for requested action.")),
        ("post-only", not_maker(futures)),
        ("reduce-only", reduces_nothing()),
        ("it would trigger", at_once(futures)),
        ("the book is void", RefusalError(-1013, "Market is closed.")),
        (
            "too many",
            RefusalError(-2025, "Reach max open order limit.")
            if futures
            else filtered("MAX_NUM_ORDERS"),
        ),
    ):
        if reason.startswith(begins):
            return refusal
    return RefusalError(-2010, reason)
