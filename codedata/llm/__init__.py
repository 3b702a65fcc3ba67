"""Call language models over any OpenAI-compatible endpoint, with limits, costs and kept replies."""
from codedata.llm.client import Client, LLMServerHTTP, Models, Reply

__all__ = ["Client", "LLMServerHTTP", "Models", "Reply"]
