"""OpenAI's Responses API: its wire shapes in and out, and which answers are kept. Engines are asked for chats."""
