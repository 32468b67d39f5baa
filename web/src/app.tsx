// The page: the status on top, then what an attacker can have done, the market, our account, and what guards them.
// While the node is not heard, everything but the status is dimmed: nothing may look live when it is not.
import { Certificates, reviewEvery } from "./certificate";
import { EquityChart, PriceChart } from "./charts";
import { Header } from "./header";
import { HostileBanner } from "./hostile";
import { Accounts, Fills, Instruments, Orders, Positions } from "./panels";
import { Breakers, Gates, Sources } from "./safety";
import { Now } from "./table";
import { TrustChart } from "./trust";
import { useConnection } from "./view";

export function App() {
  const connection = useConnection();
  const { view, link, now } = connection;
  const { numeraire } = view;
  return (
    <Now.Provider value={now}>
      <div class={`page ${link}`}>
        <Header connection={connection} />
        <HostileBanner view={view} />
        <main>
          <Certificates view={view} instruments={view.instruments} />
          <div class="column market">
            <PriceChart instruments={view.instruments} positions={view.positions} numeraire={numeraire} />
            <Positions rows={view.positions} numeraire={numeraire} />
            <Instruments rows={view.instruments} numeraire={numeraire} />
          </div>
          <div class="column account">
            <EquityChart equity={view.equity} numeraire={numeraire} />
            <Accounts rows={view.accounts} numeraire={numeraire} />
            <Orders rows={view.orders} numeraire={numeraire} />
            <Fills rows={view.fills} numeraire={numeraire} />
          </div>
          <div class="column safety">
            <Sources rows={view.sources} />
            <TrustChart view={view} />
            <Breakers rows={view.breakers} />
            <Gates rows={view.gates} every={view.robust ? reviewEvery(view.robust) : 0} />
          </div>
        </main>
      </div>
    </Now.Provider>
  );
}
