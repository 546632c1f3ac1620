// Asks a look-up server's Redis door with ioredis and node-redis, and writes what they got as JSON.
// node ask.mjs PORT TOKEN BLOCKED ADVISORY FREE
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const [port, token, blocked, advisory, free] = process.argv.slice(2);

async function byIoredis(password) {
  const client = new Redis({ port: Number(port), password, maxRetriesPerRequest: 0 });
  const pipeline = await client.pipeline().get(blocked).get(free).exec();
  const multi = await client.multi().get(advisory).exists(blocked).exec();
  const refused = await client.get('GoPay').catch((error) => error.message);
  const written = await client.set(blocked, 'free').catch((error) => error.message);
  const found = {
    get: await client.get(blocked),
    mget: await client.mget(blocked, advisory, free),
    exists: await client.exists(blocked, advisory),
    pipeline: pipeline.map(([error, value]) => error ?? value),
    multi: multi.map(([error, value]) => error ?? value),
    refused,
    written,
  };
  await client.quit();
  return found;
}

async function byNodeRedis(password, RESP) {
  const socket = { port: Number(port), host: '127.0.0.1', reconnectStrategy: false };
  const client = createClient({ socket, password, RESP, name: 'gateway-1' });
  client.on('error', () => {});
  await client.connect();
  const refused = await client.get('GoPay').catch((error) => error.message);
  const written = await client.set(blocked, 'free').catch((error) => error.message);
  const found = {
    get: await client.get(blocked),
    mget: await client.mGet([blocked, advisory, free]),
    exists: await client.exists([blocked, advisory]),
    pipeline: await Promise.all([client.get(blocked), client.get(free)]),
    multi: await client.multi().get(advisory).exists(blocked).exec(),
    refused,
    written,
    name: await client.clientGetName(),
  };
  await client.close();
  return found;
}

async function refusal(ask) {
  try {
    await ask();
    return null;
  } catch (error) {
    return String(error.message);
  }
}

const found = {
  ioredis: await byIoredis(token),
  'node-redis 2': await byNodeRedis(token, 2),
  'node-redis 3': await byNodeRedis(token, 3),
  'wrong token': await refusal(() => byNodeRedis('wrong', 3)),
};
console.log(JSON.stringify(found));
process.exit(0);
