// What an attacker can have done at most: per group the certificate, each of its terms apart, and what was learned.
// Beside it, while a source of the simulated market lies, how far a model that believes every source is off.
import type { ComponentChildren } from "preact";
import { UNKNOWN, isKnown, number, percent, price, sigma, signed, words } from "./format";
import { Age, Badge, Panel, type Tone } from "./table";
import type { Certificate, Corridor, Exposure, Figures, Group, Instrument, Maybe, Naive, Robust, View } from "./view";

/** A review comes each minute unless the node says otherwise. */
export const REVIEW_MS = 60_000;

export const reviewEvery = (robust: Robust | null): number => robust?.every ?? REVIEW_MS;

const STANDINGS: Record<string, { tone: Tone; meaning: string }> = {
  certified: { tone: "good", meaning: "the bound holds, and an attacker cannot make it useless" },
  sound: { tone: "fair", meaning: "the bound holds, but a hostile source could widen it" },
  vacuous: { tone: "bad", meaning: "the bound holds, but it is too wide to be of use" },
  none: { tone: "bad", meaning: "no bound holds: too few sources have a vote" },
};

/** The standing in one word; before the first review there is nothing to stand on. */
export const standingOf = (group: Group): string => group.certificate?.standing ?? "waiting";

export const standingTone = (standing: string): Tone => STANDINGS[standing]?.tone ?? "warn";

/** What is amiss with the certificates, by standing; "sound" is a bound that holds. */
export function uncertified(view: View): [string, string[]][] {
  const groups = view.robust?.groups ?? [];
  const named = (standing: string): string[] => groups.filter((group) => standingOf(group) === standing).map(({ name }) => name);
  return [["no certificate", named("none")], ["vacuous certificate", named("vacuous")], ["no certificate yet", named("waiting")]];
}

/** The statement itself, without its number. */
function statement(group: Group, certificate: Certificate | null): string {
  const { faulty, sources } = certificate ?? { faulty: 1, sources: group.sources };
  const attacker = `An attacker who owns ${number(faulty)} of ${number(sources)} sources can have moved the model by at most`;
  if (!certificate) return `No bound yet: ${group.reason || "the first review is still to come"}`;
  if (certificate.standing === "none") return `No bound: ${attacker[0]?.toLowerCase()}${attacker.slice(1)} … unknown`;
  return attacker;
}

function Term({ name, value, title, children }: { name: string; value: string; title: string; children?: ComponentChildren }) {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd>{value}{children}</dd>
    </div>
  );
}

function Terms({ certificate }: { certificate: Certificate }) {
  const { conditional } = certificate;
  const later = conditional ? "holds if the next hour is like the last day" : "holds whatever the next hour brings";
  return (
    <dl class="terms">
      <Term name="sample" value={sigma(certificate.sample)} title="how far the sources' disagreement lets the last sample be moved" />
      <Term name="decisions" value={sigma(certificate.decisions)} title="what reviews have added that might have gone the other way without the attack" />
      <Term name="reference" value={sigma(certificate.reference)} title="how far from the reference the market gate lets the model go at all" />
      <Term name="next hour" value={`≤ ${sigma(certificate.next_hour)}`} title={later}>
        {conditional && <span class="conditional"> conditional</span>}
      </Term>
    </dl>
  );
}

const DECISIONS = ["learned", "frozen", "rejected", "held"];
const decisionTone = (decision: string | null): Tone =>
  decision === "learned" ? "good" : decision ? "warn" : "plain";

function Verdict({ group }: { group: Group }) {
  if (!group.verdict) return null;
  return (
    <span class="verdict" title="corroboration: share of the sources that show the consensus's move by themselves">
      <Badge tone={group.verdict === "targeted" ? "bad" : "plain"}>{group.verdict}</Badge>{" "}
      corroboration {percent(group.corroboration, 0)}
    </span>
  );
}

function Learning({ group, every }: { group: Group; every: number }) {
  const counts = group.counts ?? {};
  return (
    <div class="learning">
      <p>
        {DECISIONS.map((what) => <span key={what}>{what} <b>{number(counts[what])}</b></span>)}
        <span class="unit">reviews</span>
        {(group.rolled_back ?? 0) > 0 && <span class="warn">rolled back <b>{number(group.rolled_back)}</b> ×</span>}
      </p>
      {group.figures && (
        <p>
          <Badge tone={decisionTone(group.decision)}>{words(group.decision)}</Badge>
          {group.reason && <span class="reason">{group.reason}</span>}
          <Verdict group={group} />
          <span class="age"><Age ts={group.figures.ts} every={every} /> ago</span>
        </p>
      )}
    </div>
  );
}

const span = (ends: [Maybe, Maybe] | null | undefined): string =>
  ends ? `${number(ends[0], 2)}–${number(ends[1], 2)}` : UNKNOWN;

/** The gate's limit is on the logarithm of an eigenvalue. */
function spectrumLimit(limit: Maybe | undefined): string {
  return isKnown(limit) ? span([Math.exp(-limit), Math.exp(limit)]) : UNKNOWN;
}

const S0: Corridor = { distance: 0.5, spectrum: [0.85, 1.15], divergence: 0.1 };

/** What was measured, the calibrated limit, and the fixed corridor that the limit stands in for. */
function CorridorTable({ figures, provisional }: { figures: Figures; provisional: boolean }) {
  const { window, model, limits } = figures;
  const row = (name: string, title: string, figure: Corridor | null, spectrum = span(figure?.spectrum)) => (
    <tr title={title}>
      <th scope="row">{name}</th>
      <td>{number(figure?.distance, 2)}</td>
      <td>{spectrum}</td>
      <td>{number(figure?.divergence, 3)}</td>
    </tr>
  );
  const limit = limits && { ...limits, spectrum: null };
  return (
    <table class="corridor" aria-label="Against the reference">
      <thead>
        <tr>
          <th scope="col">{provisional ? "provisional reference" : "reference"}</th>
          <th scope="col">Mahalanobis σ</th>
          <th scope="col">spectrum ×</th>
          <th scope="col">KL nats</th>
        </tr>
      </thead>
      <tbody>
        {row("window", "the consensus of the last rows", window)}
        {row("limit", "beyond which nothing is learned; calibrated on the reference", limit, spectrumLimit(limits?.spectrum))}
        {row("model", "what has been learned", model)}
        {row("fixed corridor", "the fixed figures that the calibrated limits stand in for", figures.corridor ?? S0)}
      </tbody>
    </table>
  );
}

/** From half the cap on, the direction of what we hold may be the attacker's. */
const HALF = 0.5;

function Exposures({ rows }: { rows: Exposure[] }) {
  if (rows.length === 0) return null;
  return (
    <p class="exposures">
      exposure moved by{" "}
      {rows.map((row) => (
        <span key={row.instrument} title={`wanted ${percent(row.wanted, 1)} of the cap, between ${percent(row.low, 1)} and ${percent(row.high, 1)} without the attack`}>
          ≤ <b class={isKnown(row.bound) && row.bound < HALF ? "" : "warn"}>{percent(row.bound, 1)}</b> of the cap <span class="unit">{row.instrument}, <Age ts={row.ts} /></span>
        </span>
      ))}
    </p>
  );
}

/** What a model that believes every source makes of the same rows, in the place where ours has its bound. */
function NaiveModel({ naive, numeraire }: { naive: Naive; numeraire: string }) {
  return (
    <div class="naive" data-testid="naive">
      <p>
        {isKnown(naive.shift) ? "A naive model, believing all sources, is off by" : "A naive model believes all sources"}{" "}
        <span class="believes">
          it sees {price(naive.price)} {numeraire} ({signed(naive.price_off_bps, 1)} bps), we see {price(naive.consensus)}, <Age ts={naive.ts} />
        </span>
      </p>
      {isKnown(naive.shift) && <strong>{sigma(naive.shift)}</strong>}
    </div>
  );
}

type CardProps = { group: Group; exposures: Exposure[]; naive: Naive | undefined; numeraire: string; every: number };

function GroupCard({ group, exposures, naive, numeraire, every }: CardProps) {
  const { certificate, figures, reference } = group;
  const standing = standingOf(group);
  const axes = Object.entries(certificate?.axes ?? {}).map(([name, value]) => `${words(name)} ${sigma(value)}`).join(", ");
  const bounded = certificate !== null && certificate.standing !== "none";
  return (
    <article class={`group ${standingTone(standing)}`} data-row={group.name} data-standing={standing}>
      <header>
        <h3>{group.name}</h3>
        <span title={STANDINGS[standing]?.meaning ?? "no review yet"}><Badge tone={standingTone(standing)}>{standing}</Badge></span>
        <span class="unit">{number(group.voting)} of {number(group.sources)} vote</span>
        <span class="age"><Age ts={certificate?.ts ?? null} every={every} /></span>
      </header>
      <div class="statement">
        <p>
          {statement(group, certificate)}
          {certificate && standing !== "certified" && <span class="meaning">{STANDINGS[standing]?.meaning}</span>}
        </p>
        {bounded && <strong title={axes}>{sigma(certificate.past)}</strong>}
      </div>
      {naive && <NaiveModel naive={naive} numeraire={numeraire} />}
      {certificate && <Terms certificate={certificate} />}
      <Exposures rows={exposures} />
      <Learning group={group} every={every} />
      {figures && <CorridorTable figures={figures} provisional={reference?.provisional ?? false} />}
    </article>
  );
}

function Summary({ groups }: { groups: Group[] }) {
  const holding = groups.filter((group) => ["good", "fair"].includes(standingTone(standingOf(group)))).length;
  if (groups.length === 0) return null;
  const tone = holding === groups.length ? "good" : groups.some((group) => standingTone(standingOf(group)) === "bad") ? "bad" : "warn";
  return <Badge tone={tone}>{`${holding} of ${groups.length} bounded`}</Badge>;
}

type PanelProps = { view: View; instruments: Instrument[] };

export function Certificates({ view, instruments }: PanelProps) {
  const { robust, naive, numeraire } = view;
  const groups = robust?.groups ?? [];
  const groupOf = new Map(instruments.map((row) => [row.name, row.group]));
  const exposures = robust?.exposures ?? [];
  const every = reviewEvery(robust);
  const note = (
    <>
      <span>σ: standard deviations of the group's reference</span>
      <span>last review <Age ts={robust?.reviewed ?? null} every={every} /></span>
      <Summary groups={groups} />
    </>
  );
  return (
    <Panel testId="certificates" title="Certificate" note={note} className="certificates">
      {groups.length === 0 ? (
        <p class="empty">{view.now === null ? "Not known: nothing heard from the node yet" : "The node does not report a certificate"}</p>
      ) : (
        <div class="groups">
          {groups.map((group) => (
            <GroupCard
              key={group.name}
              group={group}
              exposures={exposures.filter((row) => groupOf.get(row.instrument) === group.name)}
              naive={naive?.[group.name]}
              numeraire={numeraire}
              every={every}
            />
          ))}
        </div>
      )}
    </Panel>
  );
}
