// OpenAI's own package: chats, streams, tools that it runs by itself, structured answers, responses; and, where an
// embedding model is named, what only a scripted engine can be asked for.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, chat, sleeper, embedding] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const ask = (content) => [{ role: "user", content }];
const FRANCE = ask("What is the capital of France?");
const found = {};

found.chat = (await client.chat.completions.create({ model: chat, messages: FRANCE, temperature: 0 })).choices[0].message.content;

const usages = [];
found.stream = "";
const stream = await client.chat.completions.create({
  model: sleeper,
  messages: FRANCE,
  temperature: 0,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  found.stream += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) usages.push(chunk.usage.completion_tokens > 0);
}
found.usages = usages;

// A whole conversation with a tool, streamed, by the package's own runner.
const cities = [];
const runner = client.chat.completions.runTools({
  model: chat,
  messages: ask("What is the weather in Paris?"),
  temperature: 0,
  stream: true,
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "Get the weather in a city",
        parse: JSON.parse,
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
        function: ({ city }) => {
          cities.push(city);
          return "sunny";
        },
      },
    },
  ],
});
found.tools = { said: await runner.finalContent(), cities };

const Country = z.object({ country: z.string(), capital: z.string() });
const parsed = await client.chat.completions.parse({
  model: chat,
  messages: ask("Describe France as JSON."),
  temperature: 0,
  response_format: zodResponseFormat(Country, "country"),
});
found.structured = Object.keys(parsed.choices[0].message.parsed).sort();

found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);

const response = await client.responses.create({ model: chat, input: FRANCE, temperature: 0 });
found.response = response.output_text;
const events = client.responses.stream({ model: chat, input: "Really?", previous_response_id: response.id });
found.events = [];
for await (const event of events) found.events.push(event.type);
found.response_end = (await events.finalResponse()).status;

try {
  await client.chat.completions.create({ model: "nobody", messages: FRANCE });
} catch (error) {
  found.refused = [error.constructor.name, error.status, error.code];
}
if (embedding) {
  const vectors = await client.embeddings.create({ model: embedding, input: ["a", "b"] });
  found.vectors = vectors.data.map((row) => row.embedding.length);
  try {
    const broken = await client.chat.completions.create({
      model: chat,
      messages: ask("!say a b c !error after 2 broken"),
      stream: true,
    });
    for await (const _ of broken);
  } catch (error) {
    found.broken = error instanceof OpenAI.APIError;
  }
}
console.log(JSON.stringify(found));
