// A strip below the status while a source of the simulated market is told to lie: who, how, since when, how to stop it.
// It also says whether the defence has shut the liar out, so that one look tells a drill from a danger.
import { useContext } from "preact/hooks";
import { uncertified } from "./certificate";
import { clock, duration, isKnown, moment, number, words } from "./format";
import { Badge, Now, type Tone } from "./table";
import type { Hostile, Source, View } from "./view";

export const hostileNames = (hostile: Hostile | null): string[] =>
  hostile ? hostile.source.split(",").map((name) => name.trim()).filter(Boolean) : [];

/** Sources that lie now and still have a vote. */
export const lyingVoters = (view: View): Source[] => {
  const names = hostileNames(view.hostile?.active ? view.hostile : null);
  return view.sources.filter((source) => names.includes(source.name) && source.votes !== false);
};

function standingOf({ standing }: Source): string {
  if (standing === "suspended" || standing === "banned") return `${standing}, without a vote`;
  return standing === "probation" ? "on probation, without a vote" : "without a vote";
}

function defence(view: View): { tone: Tone; text: string } {
  const voters = lyingVoters(view);
  if (voters.length > 0) {
    const trust = voters.map((source) => `${source.name} has a vote, trust ${number(source.trust, 2)}`).join("; ");
    const unbounded = uncertified(view).flatMap(([, groups]) => groups);
    return unbounded.length > 0
      ? { tone: "bad", text: `not shut out: ${trust}; nothing bounds what it can do to ${unbounded.join(", ")}` }
      : { tone: "warn", text: `not shut out yet: ${trust}; the certificate bounds what it can do` };
  }
  const names = hostileNames(view.hostile);
  const liars = view.sources.filter((source) => names.includes(source.name));
  const standings = liars.map((source) => `${source.name} is ${standingOf(source)}`).join("; ");
  return liars.length === 0 ? { tone: "warn", text: "not among the sources shown" } : { tone: "good", text: `shut out: ${standings}` };
}

export function HostileBanner({ view }: { view: View }) {
  const now = useContext(Now);
  const { hostile } = view;
  if (!hostile) return null;
  const { source, attack, detail, since, active, off } = hostile;
  const ahead = !active && isKnown(since) && isKnown(now) && since > now;
  const { tone, text } = active ? defence(view) : { tone: "plain" as const, text: "" };
  const lead = active ? `${source} is lying` : ahead ? `${source} will begin to lie in ${duration(since - now)}` : `${source} no longer lies`;
  return (
    <aside class={`hostile ${tone}`} data-testid="hostile" data-active={String(active)} role="note">
      <p>
        <strong>{lead}</strong>{" "}
        {isKnown(since) && !ahead && (
          <span title={`${moment(since)} UTC`}>
            since {clock(since)} UTC{active && isKnown(now) && ` (${duration(now - since)})`}
          </span>
        )}
        <span class="what">{words(attack)}{detail ? `: ${detail}` : ""}</span>
      </p>
      <p>
        {active && <Badge tone={tone}>{text}</Badge>}
        <span class="off">A drill of the simulated market; without it: <code>seawall run {off || "--hostile none"}</code></span>
      </p>
    </aside>
  );
}
