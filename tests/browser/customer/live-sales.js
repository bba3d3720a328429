// The customer's own React component, literally. `URL` is where their page finds the WebSocket service.
const { useState, useEffect, createElement } = React;

function LiveSales() {
  const [sales, setSales] = useState([]);

  useEffect(() => {
    const ws = new WebSocket(URL + "/ws/sales");
    ws.onmessage = (event) => {
      const sale = JSON.parse(event.data);
      setSales((prev) => [sale, ...prev]);
    };
    return () => ws.close();
  }, []);

  return createElement(
    "ul",
    null,
    sales.map((sale, index) => createElement("li", { key: index, "data-id": sale.id }, `${sale.producto} × ${sale.cantidad}: ${sale.total} €`)),
  );
}
