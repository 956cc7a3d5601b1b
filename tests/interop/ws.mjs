// Follows the events over a WebSocket with npm's `ws`, and comes back after the last seq whenever it is cut off.
//
//     RAZAO_NODE_MODULES=DIR/node_modules node ws.mjs BASE_URL TOKEN TOTAL
//
// Prints one seq a line until TOTAL events have come. Needs `npm install --prefix DIR ws`.
import { createRequire } from "node:module";

const { WebSocket } = createRequire(process.env.RAZAO_NODE_MODULES + "/here.js")("ws");
const [base, token, total] = process.argv.slice(2);

let last = 0;
const follow = () => {
  const url = `${base.replace("http", "ws")}/v1/ws?from=${last + 1}`;
  const socket = new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } });
  socket.on("message", (data) => {
    if (last >= Number(total)) return;
    last = JSON.parse(data).seq;
    console.log(last);
    if (last >= Number(total)) socket.close();
  });
  socket.on("error", (error) => console.error(error.message));
  socket.on("close", () => {
    if (last < Number(total)) setTimeout(follow, 50);
  });
};
follow();
