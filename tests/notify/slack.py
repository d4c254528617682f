"""Slack, as far as we talk to it: an incoming webhook and chat.postMessage on a free port, answering as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

TOKEN = "xoxb-1234-very-secret"
HOOK = "/services/T0/B0/very-secret"

Answer = Callable[[], web.StreamResponse]


def said(body: Any, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON."""
    return lambda: web.json_response(
        body, status=status, headers={name.replace("_", "-"): one for name, one in headers.items()}
    )


def raw(body: str, status: int, content_type: str) -> Answer:
    """Answer with a body as it is."""
    return lambda: web.Response(text=body, status=status, content_type=content_type)


class FakeSlack:
    """Remembers what was posted; gives the answers lined up for it, then its best one."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.answers: list[Answer] = []
        self.silent = False  # take the request and never answer
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application()
        app.router.add_post(HOOK, self._hook)
        app.router.add_post("/api/chat.postMessage", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening; later requests are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, raw("ok", 200, "text/html"))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        return await self._answer(request, said({"ok": True, "ts": "1.2"}))

    async def _answer(self, request: web.Request, best: Answer) -> web.StreamResponse:
        self.posted.append(await request.json())
        if self.silent:
            await asyncio.sleep(3600)
        return (self.answers.pop(0) if self.answers else best)()
