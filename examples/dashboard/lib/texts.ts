/** Every text a person reads. One place, so that a second language is a second object. */
import type { Trouble } from "./notifiws.ts";

export const texts = {
  title: "Inventario en directo",
  tagline: "Cada venta aparece aquí en cuanto se confirma en la base de datos.",
  loading: "Conectando con el servidor…",
  status: { live: "En directo", reconnecting: "Reconectando…", offline: "Sin conexión" },
  connection: "Estado de la conexión",
  salesToday: "Ventas hoy",
  revenueToday: "Ingresos hoy",
  averageTicket: "Ticket medio",
  lastSale: "Última venta",
  noSales: "Todavía no hay ventas hoy",
  latest: "Últimas ventas",
  columns: { time: "Hora", product: "Producto", store: "Tienda", quantity: "Uds.", total: "Importe" },
  units: (n: number) => (n === 1 ? "1 ud." : `${n} uds.`),
  lowStock: "Stock bajo",
  lowStockNone: "Todo por encima del mínimo",
  lowStockNoneHint: "Cuando un producto baje de su mínimo, aparecerá aquí.",
  minimum: "mín.",
  severity: { out: "Agotado", critical: "Crítico", low: "Bajo" },
  more: (n: number) => `y ${n} más`,
  flash: (n: number) => (n === 1 ? "+1 venta" : `+${n} ventas`),
  updated: "Última novedad",
  asOf: "Datos de las",
  source: "PostgreSQL → notifiws → esta página",
  noScript: "Esta página necesita JavaScript para mostrar los datos en directo.",
  notFound: { title: "Esta página no existe", back: "Volver al inventario" },
} as const;

const RELOAD = "Recargue la página para volver a intentarlo.";

const troubles: Record<string, string> = {
  1000: "El servidor cerró la conexión. Volviendo a conectar…",
  1001: "El servidor cerró la conexión. Volviendo a conectar…",
  1006: "No se puede llegar al servidor. Seguimos intentándolo…",
  1009: "El servidor envió un mensaje demasiado grande. Volviendo a conectar…",
  1011: "El servidor tuvo un fallo interno. Volviendo a conectar…",
  1012: "El servidor se está reiniciando. Volvemos enseguida…",
  1013: "El servidor pide esperar un momento. Volveremos a intentarlo…",
  4400: `El servidor no entendió la petición. ${RELOAD}`,
  4401: "La sesión ha caducado o falta. Volviendo a intentarlo…",
  4403: `No tiene permiso para ver estos datos. ${RELOAD}`,
  4408: "La identificación tardó demasiado. Volviendo a conectar…",
  4409: "Esta conexión va demasiado lenta. Poniéndose al día…",
  4410: "El historial ya no está disponible. Cargando el estado actual…",
  4429: "El servidor tiene demasiadas conexiones. Lo intentaremos dentro de un momento.",
  silent: "El servidor no responde. Volviendo a conectar…",
  gap: "Faltaba un mensaje. Recuperándolo…",
  undeclared: "Nadie publica todavía el resumen de ventas. Arranque la demostración: notifiws up --demo",
  unreadable: "Llegó un mensaje ilegible del servidor.",
  summary: "El resumen recibido no tiene la forma esperada.",
  sale: "Llegó una venta que no se puede leer.",
  unsubscribed: "El servidor canceló la suscripción. Volviendo a suscribirse…",
  forbidden: `No tiene permiso para ver estos datos. ${RELOAD}`,
  unauthenticated: "Hace falta identificarse para ver estos datos.",
  unavailable: "Los datos no están disponibles en este momento. Volviendo a intentarlo…",
  internal: "El servidor tuvo un fallo interno. Volviendo a intentarlo…",
  limit: "Se alcanzó un límite del servidor. Volviendo a intentarlo…",
  rate_limited: "Demasiados mensajes seguidos. Esperando un momento…",
  unsupported: `El servidor no admite esta petición. ${RELOAD}`,
};

/** A trouble in plain words. What has none is shown with its code, never hidden. */
export function explain({ code, message }: Trouble): string {
  return troubles[code] ?? `El servidor respondió con un error (${code})${message ? `: ${message}` : "."}`;
}

export const offline = "Su equipo no tiene conexión a internet. Se pondrá al día solo al volver.";
