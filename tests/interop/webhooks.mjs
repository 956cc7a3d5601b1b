// Verifies a delivery (a JSON file with secrets, headers and body) with npm's standardwebhooks, found below
// RAZAO_NODE_MODULES.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.RAZAO_NODE_MODULES, "here.js"));
const { Webhook } = require("standardwebhooks");
const delivery = JSON.parse(readFileSync(process.argv[2], "utf8"));

for (const secret of delivery.secrets) {
  const event = new Webhook(secret).verify(delivery.body, delivery.headers);
  if (event.id !== delivery.headers["webhook-id"]) throw new Error("another id");
}
const refuses = (secret, body) => {
  try {
    new Webhook(secret).verify(body, delivery.headers);
  } catch {
    return;
  }
  throw new Error("what must not be verified was");
};
refuses("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", delivery.body);
refuses(delivery.secrets[0], delivery.body + " ");
console.log(`verified with ${delivery.secrets.length} secrets`);
