"""OpenAI's Files and Uploads API, over `filing`. Bodies stream: of a file that arrives a block or two are in memory."""
