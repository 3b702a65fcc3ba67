"""Calls to language models over any OpenAI-compatible endpoint: one client, its limits, its money, its kept replies."""
from codedata.llm.client import Client, LLMServerHTTP, Models, Reply

__all__ = ["Client", "LLMServerHTTP", "Models", "Reply"]
