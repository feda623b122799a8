// Vercel's AI SDK, by its provider for compatible servers and by the one for OpenAI (chats and responses).
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, chat, sleeper, embedding, thinking] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const compatible = createOpenAICompatible({ name: "dormouse", baseURL, includeUsage: true, supportsStructuredOutputs: true });
const openai = createOpenAI({ baseURL, apiKey: "none" });
const FRANCE = "What is the capital of France?";
const Country = z.object({ country: z.string(), capital: z.string() });

async function one(provide) {
  const found = {};
  const plain = { maxRetries: 0, temperature: 0 };
  found.text = (await generateText({ ...plain, model: provide(chat), prompt: FRANCE })).text;
  const stream = streamText({ ...plain, model: provide(sleeper), prompt: FRANCE });
  found.stream = "";
  for await (const part of stream.textStream) found.stream += part;
  found.counted = (await stream.usage).outputTokens > 0;
  found.reason = await stream.finishReason;
  const cities = [];
  const tools = {
    get_weather: tool({
      description: "Get the weather in a city",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        cities.push(city);
        return "sunny";
      },
    }),
  };
  const asked = { ...plain, model: provide(chat), prompt: "What is the weather in Paris?", tools, stopWhen: stepCountIs(3) };
  const whole = await generateText(asked);
  const streamed = streamText(asked);
  found.tools = [whole.text, await streamed.text, cities];
  found.steps = [whole.steps.length, (await streamed.steps).length];
  const formed = await generateText({
    ...plain,
    model: provide(chat),
    prompt: "Describe France as JSON.",
    output: Output.object({ schema: Country }),
  });
  found.structured = Object.keys(formed.output).sort();
  return found;
}

const found = { compatible: await one((name) => compatible(name)) };
found.chat = await one((name) => openai.chat(name));
found.responses = await one((name) => openai.responses(name));
if (embedding) {
  const thought = await generateText({
    maxRetries: 0,
    model: compatible(thinking),
    prompt: FRANCE,
    providerOptions: { dormouse: { reasoningEffort: "low" } },
  });
  found.thought = [thought.reasoningText, thought.text];
  const vectors = await embedMany({ model: compatible.textEmbeddingModel(embedding), values: ["a", "b"], maxRetries: 0 });
  found.vectors = vectors.embeddings.map((row) => row.length);
}
try {
  await generateText({ model: compatible("nobody"), prompt: FRANCE, maxRetries: 0 });
} catch (error) {
  found.refused = [error.name, error.statusCode];
}
console.log(JSON.stringify(found));
