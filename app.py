"""Easel: `python app.py` opens it.  Parses flags, builds the page, serves it.  Installs nothing."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
import time
from functools import partial

from training.home import INSTALLED, find_home
from training.hub import wire
from training.plan.cards import named
from training.plan.hardware import machine
from training.runs.lock import NO_LOCKS, has_locks
from training.version import VERSION
from ui.server import closing, instance, serving, uploads, window


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("easel" if INSTALLED else "app.py", description="Easel trains a LoRA from your pictures.")
    parser.add_argument("--home", metavar="DIR", help="folder for datasets and outputs; default: $EASEL_HOME, else this folder, or where this system keeps programs' data if Easel was installed as a package")
    parser.add_argument("--host", default="", metavar="ADDRESS", help="address to listen on; default: 127.0.0.1, this computer only")
    parser.add_argument("--port", type=int, default=serving.PORT, help=f"port; the next free one is taken if it is busy (default: {serving.PORT})")
    parser.add_argument("--listen", action="store_true", help="let other computers in; needs --auth")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this login; $EASEL_AUTH does the same and is not seen by other users")
    parser.add_argument("--share", action="store_true", help="a public gradio.live address; a password is made and printed if there is no --auth")
    parser.add_argument("--root-path", default="", metavar="PATH", help="whole address under which a reverse proxy serves Easel, or only its path if the proxy keeps the name 127.0.0.1")
    parser.add_argument("--host-name", metavar="NAME", action="append", default=[], help="another name under which Easel is asked, as a reverse proxy, a tunnel or your network has it; may be given several times")
    parser.add_argument("--trusted-proxy", metavar="ADDRESS", default="", help="address of a reverse proxy whose X-Forwarded-For is believed, so that wrong passwords are counted for each visitor and not for the proxy")
    parser.add_argument("--data", metavar="DIR", action="append", default=[], help="a folder on this computer from which pictures may be added by name when others can reach Easel too; may be given several times (default then: import, in the home)")
    parser.add_argument("--gpu", metavar="CARD", help="train only on these graphics cards: number, UUID or part of the name, several with commas; default: all")
    parser.add_argument("--mcp", action="store_true", help="let models ask Easel too, as tools of the Model Context Protocol; needs the package mcp (docs/api.md)")
    parser.add_argument("--version", action="version", version=f"Easel {VERSION}")
    parser.add_argument("--no-browser", action="store_true", help="do not open a window")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serves until Ctrl+C.  0, or 2 when the flags do not go together."""
    args = flags().parse_args(arguments)
    try:
        plan = serving.plan(args, os.environ)
    except ValueError as error:
        print(f"Easel does not start: {error}", file=sys.stderr)
        return 2
    try:
        home = find_home(args.home).ready()
        claim = instance.claim(home)
        if claim and not has_locks(home.outputs):
            print(f"{home.outputs} {NO_LOCKS}.", flush=True)
    except ValueError as error:
        print(f"Easel does not start: {error}.", file=sys.stderr)
        return 2
    os.environ["EASEL_HOME"] = str(home.root)  # whatever looks for plugins later finds the same home
    if args.gpu:
        try:
            os.environ["EASEL_GPU"] = ",".join(named(text, machine(home.root).cards).uuid for text in args.gpu.split(","))
        except ValueError as error:
            print(f"Easel does not start: --gpu {error}", file=sys.stderr)
            return 2
    if claim is None:
        url = instance.other_url(home)
        print(f"Easel is already running at {url}" if url else "Easel is already running on this folder; close it first, or choose another with --home.")
        if url and plan.window:
            window.open_app(url)
        return 0
    port = serving.free_port(plan.host, plan.port)
    if port != plan.port:
        print(f"Port {plan.port} is busy, so Easel takes {port}.")
    for sentence in wire.settle(os.environ, () if plan.host in wire.LOOPBACK else (plan.host,)):
        print(sentence)
    return _serve(home, plan, port, claim)


def _serve(home, plan, port, claim) -> int:
    place = uploads.folder(home)
    os.environ["GRADIO_TEMP_DIR"] = str(place)  # the system's /tmp may be small, or in memory
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["FORWARDED_ALLOW_IPS"] = plan.trusted  # what uvicorn reads; unset, it would believe every program on this computer
    uploads.sweep(place, age_s=0)  # nobody's: the pages that sent them ended with the last app
    from starlette.middleware import Middleware  # after the second-instance check: Gradio takes a second or two

    from training.plan import presets
    from training.runs.supervisor import Ticker
    from ui import shell, theme
    from ui.api.offering import MCP_PATH
    from ui.server import frontpage, guard, media
    from ui.server.logins import Basic, Brake, checker
    from ui.server.space import Door, owner_of
    from ui.server.spoken import Layouts, Spoken

    lay_out = partial(shell.build, home, local=plan.local, on_space=plan.on_space, root_path=plan.root_path, folders=plan.folders)
    demo = lay_out()
    middleware = [
        Middleware(guard.Guard, access=plan.access), Middleware(frontpage.FrontPage, base=plan.root_path, access=plan.access),
        Middleware(Spoken, layouts=Layouts(lay_out, demo)),
    ]  # fmt: skip
    if plan.auth:
        middleware.append(Middleware(Brake))
        if plan.mcp:
            middleware.append(Middleware(Basic, check=checker(*plan.auth), demanded=MCP_PATH, accepted="/easel/"))
    elif owner := owner_of(os.environ):
        middleware.insert(1, Middleware(Door, owner=owner))
    with serving.quiet(plan.share or plan.mcp):
        _, local_url, share_url = demo.launch(
            server_name=plan.host, server_port=port, auth=checker(*plan.auth) if plan.auth else None, share=plan.share, root_path=plan.root_path or None,
            prevent_thread_lock=True, inbrowser=False, quiet=True, show_error=False, max_file_size="2gb", allowed_paths=[],
            enable_monitoring=False, run_history=False, ssr_mode=False, strict_cors=True, pwa=False, mcp_server=plan.mcp, footer_links=[],
            favicon_path=theme.ASSETS / "icon-192.png", theme=theme.make_theme(), css=demo.easel_css, head=demo.easel_head,
            app_kwargs={
                "middleware": middleware, "routes": media.routes(home),
                "docs_url": None, "redoc_url": None, "openapi_url": None,
            },
        )  # fmt: skip
    if plan.share and not share_url:
        print(serving.NOT_SHARED.format(url=local_url), file=sys.stderr, flush=True)
        if plan.on_colab:  # nobody can reach the local address there
            serving.close(demo)
            claim.release()
            return 1
    if plan.mcp and not demo.mcp_server:
        print(f"Easel does not start: --mcp does not work here. {demo.mcp_error}", file=sys.stderr, flush=True)
        serving.close(demo)
        claim.release()
        return 1
    # read ahead, beside the browser that opens: well over a hundred files, which the first press on Try it now would wait for
    threading.Thread(target=presets.list_presets, kwargs={"plugins": home.plugins}, daemon=True).start()
    ticker = Ticker(home)
    ticker.start()
    uploads.Sweeper(place, demo.easel_taken).start()
    url = share_url or (plan.root_path if plan.root_path.startswith("http") else local_url)
    instance.announce(home, local_url)
    gc.collect()
    gc.freeze()  # page and libraries stay: walking their objects over and over holds up answers by a tenth of a second
    try:
        _hear_the_end()  # before it says that it is ready: who waits for that may end it at once
        print(f"Easel is ready{' on this computer only' if plan.share and not share_url else ''}: {url}", flush=True)
        if plan.mcp:
            print(f"MCP: {url.rstrip('/')}{MCP_PATH}/", flush=True)
        for line in plan.says:
            print(line, flush=True)
        if plan.window:
            window.open_app(local_url)
        while True:
            time.sleep(60)
    except KeyboardInterrupt:
        ticker.stop()  # what waits in the queue must not begin while the rest ends
        print(closing.last_words(home), flush=True)
    finally:
        serving.close(demo)
        claim.release()
    return 0


def _hear_the_end() -> None:
    """From now on KeyboardInterrupt is raised at Ctrl+C, and at what a container, a service manager or the launcher ends it with."""
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts what it puts in the background with that one ignored
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
