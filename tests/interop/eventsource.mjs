// Follows the event stream with npm's `eventsource`, which comes back by itself with Last-Event-ID when it is cut off.
//
//     RAZAO_NODE_MODULES=DIR/node_modules node eventsource.mjs BASE_URL TOKEN TOTAL
//
// Prints one seq a line until TOTAL events have come. Needs `npm install --prefix DIR eventsource`.
import { createRequire } from "node:module";

const { EventSource } = createRequire(process.env.RAZAO_NODE_MODULES + "/here.js")("eventsource");
const [base, token, total] = process.argv.slice(2);

const authorized = (input, init) =>
  fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });

let seen = 0;
const source = new EventSource(`${base}/v1/stream?from=1`, { fetch: authorized });
source.onmessage = (event) => {
  if (String(JSON.parse(event.data).seq) !== event.lastEventId) throw new Error(`id ${event.lastEventId}`);
  console.log(event.lastEventId);
  seen += 1;
  if (seen === Number(total)) source.close();
};
source.onerror = (error) => {
  if (source.readyState === EventSource.CLOSED) {
    console.error(error.code, error.message);
    process.exit(1);
  }
};
