// A receiver that verifies: it prints its port, reads the secret, and then prints what it thinks of each request.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

let webhook;
createInterface({ input: process.stdin }).on("line", (secret) => {
  webhook = new Webhook(secret);
  console.log(JSON.stringify({ ready: true }));
});

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    let told;
    try {
      told = { event: webhook.verify(Buffer.concat(parts).toString("utf8"), request.headers) };
    } catch (error) {
      told = { error: error.message };
    }
    response.writeHead(told.error === undefined ? 204 : 400).end();
    console.log(JSON.stringify(told));
  });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
