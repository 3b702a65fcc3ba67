from typing import Callable, Dict, List


class EventBus:
    def __init__(self, handlers: Dict[str, List[Callable]] = {}):
        self.handlers = handlers

    def on(self, name: str):
        def register(handler):
            self.handlers.setdefault(name, []).append(handler)
            return handler

        return register

    def publish(self, name: str, payload: dict):
        for handler in self.handlers.get(name, ()):
            handler(payload)


bus = EventBus()
