// A certified OpenID Connect provider. Says its address once it listens; whoever logs in is called what they type, and is
// in the group of that name.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [redirect] = process.argv.slice(2);
const server = createServer((request, response) => answer(request, response));
let answer;

server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "paygrade", client_secret: "hush: a secret+", redirect_uris: [redirect] }],
    claims: { openid: ["sub"], profile: ["name"], email: ["email"], groups: ["groups"] },
    scopes: ["openid", "profile", "email", "groups"],
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `Name of ${id}`, email: `${id}@example.com`, groups: [id] }),
    }),
  });
  answer = provider.callback();
  console.log(JSON.stringify({ issuer }));
});
