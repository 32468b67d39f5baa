// The page: the status on top, then three columns: the market, our account and its trades, and what guards them.
// While the node is not heard, everything but the status is dimmed: nothing may look live when it is not.
import { EquityChart, PriceChart } from "./charts";
import { Header } from "./header";
import { Fills, Instruments, Orders, Positions } from "./panels";
import { Breakers, Gates, Sources } from "./safety";
import { Now } from "./table";
import { useConnection } from "./view";

export function App() {
  const connection = useConnection();
  const { view, link, now } = connection;
  const { numeraire } = view;
  return (
    <Now.Provider value={now}>
      <div class={`page ${link}`}>
        <Header connection={connection} />
        <main>
          <div class="column market">
            <PriceChart instruments={view.instruments} positions={view.positions} numeraire={numeraire} />
            <Positions rows={view.positions} numeraire={numeraire} />
            <Instruments rows={view.instruments} numeraire={numeraire} />
          </div>
          <div class="column account">
            <EquityChart equity={view.equity} numeraire={numeraire} />
            <Orders rows={view.orders} numeraire={numeraire} />
            <Fills rows={view.fills} numeraire={numeraire} />
          </div>
          <div class="column safety">
            <Breakers rows={view.breakers} />
            <Sources rows={view.sources} />
            <Gates rows={view.gates} />
          </div>
        </main>
      </div>
    </Now.Provider>
  );
}
