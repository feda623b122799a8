// Ollama's own package: chats, streams, tools, formats, lists and derived names; and, where an embedding model is named,
// what only a scripted engine and its hub can be asked for.
import { Ollama } from "ollama";

const [host, chat, sleeper, embedding] = process.argv.slice(2);
const client = new Ollama({ host });
const ask = (content) => [{ role: "user", content }];
const FRANCE = "What is the capital of France?";
const options = { temperature: 0, num_predict: 128 };
const found = {};

found.chat = (await client.chat({ model: chat, messages: ask(FRANCE), options })).message.content;
found.stream = "";
for await (const part of await client.chat({ model: sleeper, messages: ask(FRANCE), options, stream: true }))
  found.stream += part.message.content;
found.generate = (await client.generate({ model: chat, prompt: FRANCE, options })).response;
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const talk = ask("What is the weather in Paris?");
for await (const part of await client.chat({ model: chat, messages: talk, tools: [tool], options, stream: true }))
  if (part.message.tool_calls) talk.push(part.message);
found.called = talk[1].tool_calls.map((call) => call.function.arguments);
talk.push({ role: "tool", tool_name: "get_weather", content: "sunny" });
found.tools = (await client.chat({ model: chat, messages: talk, tools: [tool], options })).message.content;

const text = { type: "string" };
const format = { type: "object", properties: { country: text, capital: text }, required: ["country", "capital"] };
const formed = await client.chat({ model: chat, messages: ask("Describe France as JSON."), format, options });
found.structured = Object.keys(JSON.parse(formed.message.content)).sort();
found.models = (await client.list()).models.map((row) => row.model);
found.running = (await client.ps()).models.map((row) => row.model);
found.able = (await client.show({ model: chat })).capabilities.includes("completion");

found.created = (await client.create({ model: "clients-node-mario", from: chat, system: "You are Mario." })).status;
found.copied = (await client.copy({ source: "clients-node-mario", destination: "clients-node-luigi" })).status;
found.deleted = [];
for (const model of ["clients-node-mario", "clients-node-luigi"])
  found.deleted.push((await client.delete({ model })).status);

try {
  await client.chat({ model: "nobody", messages: ask(FRANCE) });
} catch (error) {
  found.refused = [error.name, error.status_code];
}
if (embedding) {
  found.odd = "";
  for await (const part of await client.generate({ model: chat, prompt: "!odd !say süß 日本 🦥 fin", stream: true }))
    found.odd += part.response;
  found.vectors = (await client.embed({ model: embedding, input: ["a", "b"] })).embeddings.map((row) => row.length);
  found.pull = [];
  for await (const step of await client.pull({ model: "clients/node", stream: true })) found.pull.push(step.status);
  await client.delete({ model: "clients/node" });
  try {
    for await (const _ of await client.chat({
      model: chat,
      messages: ask("!say a b c !error after 2 broken"),
      stream: true,
    }));
  } catch (error) {
    found.broken = error.message;
  }
}
console.log(JSON.stringify(found));
