"""Texts without what says whose they are: names, places, words of captions and prompts, tokens, addresses.

Free text, such as a log's, has no structure to go by.  So three things are hidden in it: what is known (the names and words of the run,
who sits here, where things lie), what looks like a place, an address, a token or a file, and whatever stands in quotes, as sentences put
there what a person chose.  Too much rather than too little: whoever reads it wants the fault, not the story.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from .home import REPO
from .hub.secrets import mask

SURE = 5  # letters: a longer name is hidden inside other words too
MOST_GRAMS = 400_000  # of three words each, of all captions together
ENDINGS = r"png|jpe?g|jfif|webp|bmp|gif|avif|heic|tiff?|mp4|mov|m4v|webm|mkv|txt|caption|csv|jsonl?|ya?ml|toml|safetensors|ckpt|pth?|bin|gguf|zip|7z|tar|gz|parquet|log|md|html?"
OURS = {
    "job.yaml", "events.jsonl", "control.jsonl", "log.txt", "base.json", "datasets.json", "pictures.json", "config.json", "model_index.json", "modular_model_index.json", "state.json", "MANIFEST.json", "adapter.safetensors",
    "ema.safetensors", "state.safetensors", "diffusion_pytorch_model.safetensors", "model.safetensors", "tokenizer.json", "worker.lock", "README.md", "travel.json", "requirements.txt",
}  # fmt: skip
LIBRARIES = {
    "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "huggingface_hub", "gradio", "gradio_client", "numpy", "PIL", "pydantic", "starlette", "uvicorn", "tokenizers", "bitsandbytes",
    "torchao", "av", "yaml", "typer", "click", "httpx2", "anyio", "fastapi", "prodigyopt", "schedulefree", "prodigyplus", "torchvision", "onnxruntime", "pyarrow", "py7zr", "psutil",
}  # fmt: skip
# words that a sentence may have in front of a file's name without their being part of that name
COMMON = frozenset(re.split(
    " ",
    "a an the of in on at to from for by with and or not no is are was were be has have had it its this that these those file files folder picture pictures image images clip model run dataset caption captions mask masks "
    "read reads reading write writes writing open opens opening opened load loads loading loaded save saves saving saved cannot could can not found find finds missing broken damaged empty invalid error warning failed "
    "failure called named as into out over under here there see look remove delete get put use used uses using while during before after step steps loss line rate lr memory device cuda cpu gpu vram ram error: warning: all "
    "only too large small long short which what when who why how than then also more most least been being will would should must may might do does did done one two three first last new old next other",
))  # fmt: skip
SLASHED = re.compile(r"\d[\d.,]*/\d[\d.,]*|[\d.,]*(?:it|step|steps|images|pictures|MB|GB|kB|B|s|h)/(?:s|it|step|min|h)|and/or|I/O|TCP/IP|n/a|N/A|w/o", re.IGNORECASE)
# what a dotted name begins with that is Python's or a network's, and no computer's
MODULES = frozenset(re.split(
    " ",
    "nn np self cls module modules model models unet transformer transformers vae encoder decoder layer layers block blocks attn optimizer scheduler lr loss data config aten prims cuda triton inductor urllib3 requests "
    "httpx httpcore aiohttp training ui captioning adapter sample save concept keep place",
)) | {name.lower() for name in LIBRARIES}  # fmt: skip
PUBLIC = ("huggingface.co", "pypi.org")
DOMAINS = frozenset(re.split(" ", "com net org info biz edu gov mil int app dev cloud online tech xyz arpa example invalid onion"))  # no attribute is called so
CODE = frozenset(re.split(" ", "py so md gz js ts sh pt fc bn ln gn mm fn op nn lr fp dl to is id"))  # of two letters, and more often code than a country
VARIABLES = ("HF_", "CUDA_", "PYTORCH_", "TORCH_", "OMP_", "MKL_", "NCCL_", "EASEL_", "PYTHON", "HIP_", "ROCR_")

_TOKENS = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{10,}|AKIA[0-9A-Z]{12,}|AIza[\w-]{30,}|xox[abprs]-[\w-]{10,}|ya29\.[\w-]+|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?|"
    r"hf_\w{8,}|api_org_\w+|npm_\w{20,}|pypi-[\w-]{20,}|dop_v1_\w+|SG\.[\w-]+\.[\w-]+)"
)
_KEY_BLOCK = re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL)
_SECRET = re.compile(
    r"""(?i)((?:token|api[_-]?key|secret|passw(?:or)?d|passphrase|pwd|authorization|bearer|credentials?|cookie|access[_-]?key|private[_-]?key)\b["']?\s*(?:[:=]+>?|\bis\b|\bwas\b)\s*)(?:bearer\s+|basic\s+)?("[^"\n]*"|'[^'\n]*'|\S+)"""
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_VARIABLE = re.compile(r"""(?<![\w.])([A-Z][A-Z0-9_]{2,})=("[^"\n]*"|'[^'\n]*'|[^\s,;]+)""")
_VARIABLE_LINE = re.compile(r"(?m)^(\s*(?:export |set |declare -x )?)([A-Za-z_][A-Za-z0-9_]*)=(?!=)(.*)$")
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s\"'<>]+|\bwww\.[^\s\"'<>]+|\b(?:git|ssh)@[^\s\"'<>]+")
_PROMPT = re.compile(r"(?m)^[^\s@]+@[^\s:]+[: ][^\n$#]*[$#] ")  # of a shell
_MAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*")
_ADDRESSES = re.compile(
    r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\d.])|(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?:%\w+)?(?![\w:])|(?<![\w:])[0-9A-Fa-f]{0,4}::[0-9A-Fa-f:]*(?:%\w+)?(?![\w:])|"
    r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b|\b(?:GPU-)?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b[\w-]+\.(?:local|lan|home|internal|intranet|corp|localdomain|fritz\.box)\b"
)
_DOTTED = re.compile(r"(?<![\w.@/\\<-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+(?:\.?:\d{1,5})?(?![\w(\\-]|\.\w)")
_NO_PLACE = r"\s\"'<>|:;,()\[\]{}“”‘’«»`"
_PLACE = re.compile(  # what begins as a path does, on any system, to its end; blanks in it are followed as far as another separator or an ending comes
    rf"(?<![\w.<])(?:[A-Za-z]:[\\/]|\\\\|//|~(?:[\w.-]*)[\\/]|\.{{1,2}}[\\/]|[\\/])(?=[^\s\\/])[^{_NO_PLACE}]*"
    rf"(?:[ \t]+[^\n\"<>|:;,()]{{0,80}}?[\\/][^{_NO_PLACE}]*)*"
    rf"(?:(?<!\.\w\w\w)(?<!\.\w\w\w\w)(?:[ \t]+[^{_NO_PLACE}\\/]+){{1,6}}?\.(?:{ENDINGS})\b)?",
    re.IGNORECASE,
)
_INNER_PLACE = re.compile(rf"[^{_NO_PLACE}\\/]+(?:[\\/][^{_NO_PLACE}\\/]+)+[\\/]?")
_FILE = re.compile(rf"(?<![^{_NO_PLACE}\\/])[^{_NO_PLACE}\\/]+\.({ENDINGS})(?![\w])", re.IGNORECASE)
_PAIRS = re.compile(r"""(?<!\w)'(?:[^'\\\n]|\\.|'(?=\w))*'(?!\w)|"(?:[^"\\\n]|\\.)*"|“[^”\n]*”|‘(?:[^’\n]|’(?=\w))*’(?!\w)|«[^»\n]*»|`[^`\n]*`""")
_KEPT = {ord(mark): 0xE000 + n for n, mark in enumerate("'\"“”‘’«»`")}  # letters that no text has, while the rest is looked at
_QUOTES = {stand_in: mark for mark, stand_in in _KEPT.items()}
_OPENED = re.compile(r"""(?m)(?<![\w>])['"“‘«`](?=\w)[^\n]*$""")
_CLOSED = re.compile(r"""(?m)^[^\n<>]*?[\w.!?]['"”’»`](?=[\s.,;:)\]]|$)""")
_ENDLESS = re.compile(r"\S{201,}")  # no word of a sentence; and what follows looks at each word from each of its letters
_LONG = re.compile(r"(?<![\w/+=-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{20,}(?![\w+/-])|(?<!\w)[0-9A-Fa-f]{32,}(?!\w)")
_ACCOUNT = re.compile(
    r"(?i)\b((?:token of|namespace of|(?:signed|logged) in as:?|user(?:name)?[:=]?|account[:=]?|to host|(?:resolve |known )host|hostname|host(?:name)?[:=])\s+|(?:user(?:name)?|account|host(?:name)?)[:=])(?!<)[\w@.-]+(?!')"
)
_FRAME = re.compile(r'^(?P<lead>[\s|+-]*)File "(?P<file>[^"\n]*)", line (?P<line>\d{1,7})(?:, in (?P<where>[^\n]*))?$')
_PLACEHOLDER = re.compile(r"<[a-z ]+>(?:\.[a-z0-9]+)?")


def who() -> tuple[str, ...]:
    """Names of the person and the computer, as this system knows them."""
    found = [os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "COMPUTERNAME", "HOSTNAME", "USERDOMAIN", "SUDO_USER")]
    found += [Path.home().name, platform.node(), platform.node().partition(".")[0]]
    for ask in (getpass.getuser, socket.gethostname, _full_name):
        try:
            found.append(ask())
        except (OSError, KeyError, ImportError):
            continue
    found += [part for name in found for part in re.split(r"[\s.,]+", name) if len(part) > 2]
    return tuple(dict.fromkeys(name for name in map(str.strip, found) if len(name) > 1))


def _full_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0]


class Redactor:
    """Hides in free text what is known of a run and its people, and what looks like more of the kind.

    names: of runs, datasets, files, models.  words: captions, prompts, trigger words.  people: who().  places: folders of this computer.
    plain: quoted words that say nothing of anybody, such as the names of settings.  always: hidden whatever was ticked.  show_names, show_words: what the person ticked.
    """

    def __init__(self, names: Iterable[str], words: Iterable[str], people: Iterable[str], places: Iterable[str], plain: Collection[str] = (), always: Iterable[str] = (), show_names: bool = False, show_words: bool = False):
        self.show_names, self.show_words = show_names, show_words
        self.plain = {word.casefold() for word in plain}
        people = tuple(people)
        self._people = _any_of(form for name in people for form in _forms(name))
        self._inside = _any_of((form for name in people if len(name) > SURE for form in _forms(name)), whole=False)
        self._always = _any_of((form for value in always if len(value) > 3 for form in _forms(value)), whole=False)
        self._places = _any_of((form for place in places for form in _forms(place) if len(place) > 3), whole=False)
        self._names = _any_of(form for name in ([] if show_names else names) if name.casefold() not in COMMON and (len(name) > 2 or not name.isascii()) for form in _forms(name))
        self._grams = _grams([] if show_words else words)

    def text(self, text: str) -> str:
        """Free text, of any number of lines, with what is hidden as <kind>."""
        text = _plainly(text)
        text = _ENDLESS.sub("<long>", text)
        text = self._always.sub("<hidden>", text) if self._always else text
        text = _KEY_BLOCK.sub("<key>", text)
        text = mask(_TOKENS.sub("<token>", text))
        text = _VARIABLE_LINE.sub(lambda m: f"{m[1]}{_variable(m[2])}=<value>", text)
        text = _SECRET.sub(lambda m: f"{_kept_name(m[1])}<hidden>", text)
        text = _BEARER.sub(r"\1 <hidden>", text)
        text = _VARIABLE.sub(lambda m: f"{_variable(m[1])}=<value>", text)
        text = _URL.sub("<address>", text)
        text = _PROMPT.sub("<address>$ ", text)
        text = _MAIL.sub("<address>", text)
        text = _ADDRESSES.sub("<address>", text)
        text = _DOTTED.sub(self._host, text)
        text = _ACCOUNT.sub(lambda m: m[0] if m[0].rsplit(None, 1)[-1].casefold() in COMMON else f"{m[1]}<name>", text)
        if not self.show_names:
            text = self._named(text)
            text = self._placed(self._places.sub("/home", text) if self._places else text)
        text = self._worded(text)
        if not (self.show_names and self.show_words):
            text = _PAIRS.sub(self._pair, text)
            text = _OPENED.sub("<quoted>", text)
            text = _CLOSED.sub("<quoted>", text).translate(_QUOTES)
        if not self.show_names:
            text = _INNER_PLACE.sub(self._inner, text)
            text = self._filed(text)
            text = self._named(text)
        text = self._hide_people(text)
        return _LONG.sub(lambda m: m[0] if "<" in m[0] or _is_word(m[0]) else "<long>", text)

    def traceback(self, text: str) -> str:
        """A log or traceback: frames of known programs as file:line, without the lines of code under them; the rest as text()."""
        made, free, in_frame = [], [], False
        for line in _plainly(text).split("\n"):
            frame = _FRAME.match(line)
            if frame or not (in_frame and line.startswith("    ")):
                in_frame = bool(frame)
                if frame:
                    made += self._free(free)
                    free = []
                    program = _program(frame["file"])
                    made.append(f"  {program}:{frame['line']}" + (f" in {_function(frame['where'] or '')}" if program != "<program>" else ""))
                else:
                    free.append(line)
        return "\n".join([*made, *self._free(free)])

    def people(self, text: str) -> str:
        """Only who sits here, and tokens: for what has a structure of its own."""
        text = mask(_TOKENS.sub("<token>", text))
        return self._hide_people(text)

    def _hide_people(self, text: str) -> str:
        for pattern in (self._inside, self._people):
            text = pattern.sub("<person>", text) if pattern else text
        return text

    def _free(self, lines: list[str]) -> list[str]:
        return self.text("\n".join(lines)).split("\n") if lines else []

    def _named(self, text: str) -> str:
        return self._names.sub("<name>", text) if self._names else text

    def _placed(self, text: str) -> str:
        """Paths hidden, with the words behind them that no sentence has there: a folder's name may hold blanks."""
        out, at = [], 0
        for found in _PLACE.finditer(text):
            if found.start() < at or SLASHED.fullmatch(found[0]) or found[0].strip("\\/.") == "":
                continue
            end = found.end()
            while word := re.match(rf"[ \t]+([^{_NO_PLACE}]+)", text[end:]):
                if word[1].casefold() in COMMON or (word[1].isascii() and not word[1][0].isupper()):
                    break
                end += word.end()
            out += [text[at : found.start()], "<path>"]
            at = end
        return "".join([*out, text[at:]])

    def _inner(self, found: re.Match) -> str:
        text = found[0]
        if SLASHED.fullmatch(text) or "<" in text or (text.endswith(".py") and not _program(text).startswith("<")):
            return text
        return "<path>"

    def _host(self, found: re.Match) -> str:
        name = found[0].partition(":")[0].rstrip(".")
        return found[0] if name.casefold() in self.plain or name in OURS or name in PUBLIC or not _is_host(name) else "<address>"

    def _filed(self, text: str) -> str:
        """Names of files hidden, with the words before them that are none of a sentence's: a name may hold blanks."""
        out, at = [], 0
        for found in _FILE.finditer(text):
            if found[0] in OURS or found.start() < at:
                continue
            start = found.start()
            while word := re.search(rf"([^{_NO_PLACE}]+)[ \t]+$", text[at:start]):
                if word[1].casefold() in COMMON or "<" in word[1]:
                    break
                start = at + word.start()
            out += [text[at:start], f"<file>.{found[1].lower()}"]
            at = found.end()
        return "".join([*out, text[at:]])

    def _pair(self, found: re.Match) -> str:
        inner = found[0][1:-1].strip()
        if not inner or inner.casefold() in self.plain or _PLACEHOLDER.fullmatch(inner) or re.fullmatch(r"[-+]?\d[\d.,e+-]*%?", inner):
            return f"{found[0][0].translate(_KEPT)}{found[0][1:-1]}{found[0][-1].translate(_KEPT)}"  # or what is opened and never closed would begin here
        return f"{found[0][0]}<quoted>{found[0][-1]}"

    def _worded(self, text: str) -> str:
        """Three words in a row that stand so in a caption or prompt are hidden; of shorter ones, all of it."""
        if not self._grams:
            return text
        words = list(re.finditer(r"[^\W_]+", text))
        folded = [word[0].casefold() for word in words]
        covered = [False] * len(words)
        for n in (3, 2, 1):
            for i in range(len(words) - n + 1):
                if tuple(folded[i : i + n]) in self._grams:
                    covered[i : i + n] = [True] * n
        out, at, i = [], 0, 0
        while i < len(words):
            if not covered[i]:
                i += 1
                continue
            first = i
            while i < len(words) and covered[i]:
                i += 1
            out += [text[at : words[first].start()], "<words>"]
            at = words[i - 1].end()
        return "".join([*out, text[at:]])


def _plainly(text: str) -> str:
    """NFC, without escapes of terminals and marks that turn or hide letters."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07?", "", unicodedata.normalize("NFC", text).replace("\r\n", "\n"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


def _forms(value: str) -> Iterator[str]:
    """How a value may stand in a text."""
    value = unicodedata.normalize("NFC", value)
    yield value
    for form in (quote(value), quote(value, safe=""), value.encode("unicode_escape").decode("ascii"), value.replace("\\", "\\\\"), value.replace("\\", "/"), repr(value.encode())[2:-1], value.replace(" ", "_"), value.replace(" ", "-")):
        if form != value:
            yield form


def _any_of(values: Iterable[str], whole: bool = True) -> re.Pattern | None:
    found = sorted({value for value in values if value.strip()}, key=len, reverse=True)
    if not found:
        return None
    inner = "|".join(re.escape(value) for value in found)
    return re.compile(rf"(?<![^\W_])(?:{inner})(?![^\W_])" if whole else inner, re.IGNORECASE)


def _grams(values: Iterable[str]) -> set[tuple[str, ...]]:
    """Runs of three words; of a shorter value the value itself, unless it is a single word that any sentence may have."""
    made: set[tuple[str, ...]] = set()
    for value in values:
        words = tuple(word.casefold() for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFC", value)))
        if len(words) >= 3:
            made |= {words[i : i + 3] for i in range(len(words) - 2)}
        elif words and not (len(words) == 1 and (words[0] in COMMON or len(words[0]) < 3 or words[0].isdigit())):
            made.add(words)
        for part in re.split(r"[,.;|\n]+", value) if "," in value or "|" in value else ():  # a tag alone
            words = tuple(word.casefold() for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFC", part)))
            if 1 < len(words) < 3:
                made.add(words)
        if len(made) > MOST_GRAMS:
            break
    return made


def _variable(name: str) -> str:
    return name if name.startswith(VARIABLES) else "<variable>"


def _kept_name(lead: str) -> str:
    """The word before a secret: only that word, whatever it is joined to."""
    found = re.search(r"(?i)(token|key|secret|passw(?:or)?d|passphrase|pwd|authorization|bearer|credentials?|cookie)", lead)
    return f"{found[0].lower() if found else 'secret'}: "


def _program(file: str) -> str:
    """A source file of Easel or of a known library, from its own folder on; else <program>."""
    parts = [part for part in re.split(r"[\\/]", file) if part]
    for at, part in enumerate(parts):
        inner = parts[at + 1 :]
        if part in ("site-packages", "dist-packages") and inner and inner[0].removesuffix(".py") in LIBRARIES and all(re.fullmatch(r"[\w.-]{1,80}", p) for p in inner):
            return "/".join(inner)
    for root in ("training", "ui", "captioning"):
        if root in parts and (REPO / (own := "/".join(parts[parts.index(root) :]))).is_file() and own.endswith(".py"):
            return own
    if parts and parts[-1] == "app.py" and (len(parts) == 1 or Path(file) == REPO / "app.py"):
        return "app.py"
    standard = re.search(r"[\\/]lib[\\/]python3\.\d+[\\/]((?:[a-z_]+[\\/])?[a-z_]+\.py)$", file)
    return standard[1] if standard else "<program>"


def _function(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][\w.<>]{0,80}", name) and name.isascii() else "<function>"


def _is_host(name: str) -> bool:
    """Whether a dotted name is rather a computer's than a module's, a layer's, a file's or a number's."""
    labels = name.lower().split(".")
    first, last = labels[0], labels[-1]
    if last in DOMAINS:
        return True
    if not last.isalpha() or len(last) < 2 or re.fullmatch(ENDINGS, last) or last in CODE and len(labels) < 3:
        return False
    if name.split(".")[-1][0].isupper() and name[0].islower():  # a class, or the next sentence
        return False
    if first in MODULES or (first in sys.stdlib_module_names and (len(labels) < 3 or len(last) > 2)):
        return False
    return len(last) == 2 or (len(labels) > 2 and not any(label.isdigit() for label in labels))


def _is_word(text: str) -> bool:
    """A long word that is no secret: joined of words, as names of layers and of kernels are."""
    return bool(re.fullmatch(r"(?:[A-Za-z]{2,}\d{0,3}|\d{1,4})(?:[_=-](?:[A-Za-z]{2,}\d{0,3}|\d{1,4}))+|\d+(?:[-=]+\d+)*", text))
