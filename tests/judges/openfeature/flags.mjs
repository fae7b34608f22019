// Answers what it is asked on its standard input, a flag a line, by a stock provider of OpenFeature.
//
//   node flags.mjs web|page|server ADDRESS KEY ACCOUNT
//   page: the web provider without polling, which hears of changes by the event stream alone
//   {"key": "exports", "type": "boolean", "default": false}  →  the evaluation's details
import { createInterface } from 'node:readline';

const [kind, baseUrl, key, account] = process.argv.slice(2);
const headers = [['Authorization', `Bearer ${key}`]];
const context = { targetingKey: account };

async function connect() {
  if (kind === 'server') {
    const { OpenFeature } = await import('@openfeature/server-sdk');
    const { OFREPProvider } = await import('@openfeature/ofrep-provider');
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
    return OpenFeature.getClient();
  }
  const polling = kind === 'page' ? {} : { pollInterval: 100, changeDetection: 'polling' };
  const { OpenFeature } = await import('@openfeature/web-sdk');
  const { OFREPWebProvider } = await import('@openfeature/ofrep-web-provider');
  await OpenFeature.setContext(context);
  await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, headers, ...polling }));
  return OpenFeature.getClient();
}

const client = await connect();
console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const more = kind === 'server' ? [context] : [];
  const evaluate = { boolean: 'getBooleanDetails', number: 'getNumberDetails', string: 'getStringDetails' }[asked.type];
  console.log(JSON.stringify(await client[evaluate](asked.key, asked.default, ...more)));
}
process.exit(0);
