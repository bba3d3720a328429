/** Where the node is: the page's own origin, or, for `next dev`, what NEXT_PUBLIC_NOTIFIWS_URL says. */

/** `ws://host:port`, without a slash at the end. Browser only. */
export function endpoint(): string {
  const configured = process.env.NEXT_PUBLIC_NOTIFIWS_URL;
  if (configured) return configured.replace(/^http/, "ws").replace(/\/+$/, "");
  const { protocol, host } = window.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}`;
}
