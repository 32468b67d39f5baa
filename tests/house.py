"""The rules of the house, as functions over source text that return what they found."""

import ast
import graphlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Each imports only what stands above it; what shares a line is side by side and strangers.
LAYERS = (
    ("core",),
    ("venues",),
    ("ingestion",),
    ("exchange",),
    ("admission",),
    ("market",),
    ("estimation",),
    ("gating",),
    ("analysis",),
    ("decision", "ledger"),
    ("risk",),
    ("execution",),
    ("arbitrage",),
    ("lifecycle",),
    ("lab",),
    ("node",),
    ("simulation",),
    ("api",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# These import core alone, and only those that wire the house import them.
SERVICES = {"storage", "bus", "monitoring"}
USES_SERVICES = {"lifecycle", "lab", "node", "simulation", "api", "cli"}

CLOCK = (
    "time",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
)
RANDOMNESS = (
    "numpy.random",
    "os.getrandom",
    "os.urandom",
    "random",
    "secrets",
    "uuid.uuid1",
    "uuid.uuid4",
)
ENVIRONMENT = ("dotenv", "os.environ", "os.environb", "os.getenv", "os.putenv", "pydantic_settings")
NETWORK = (
    "aiohttp",
    "asyncio.open_connection",
    "asyncio.open_unix_connection",
    "asyncio.start_server",
    "asyncio.start_unix_server",
    "alpaca",
    "ccxt",
    "fastapi",
    "http",
    "httpx",
    "requests",
    "smtplib",
    "socket",
    "socketserver",
    "ssl",
    "starlette",
    "urllib",
    "uvicorn",
    "websockets",
)
OUTSIDE = {
    **dict.fromkeys(CLOCK, "reads the wall clock"),
    **dict.fromkeys(RANDOMNESS, "draws random numbers"),
    **dict.fromkeys(ENVIRONMENT, "reads the environment"),
    **dict.fromkeys(NETWORK, "reaches the network"),
}
# They stand in those modules but touch nothing outside; a Generator needs a Philox to be made.
PURE = ("http.HTTPStatus", "numpy.random.Generator", "secrets.compare_digest", "urllib.parse")

# The only modules that may reach outside: (path, what they may use, why).
PORTS = (
    ("seawall/core/clock.py", ("time",), "the system's clock is a port"),
    ("seawall/core/settings.py", ENVIRONMENT, "settings come from the environment"),
    ("seawall/core/randomness.py", ("numpy.random.Philox",), "counter-based draws are a port"),
    (
        "seawall/storage/secrets.py",
        ("secrets.token_bytes", "secrets.token_hex", "secrets.token_urlsafe"),
        "keys and tokens must be unguessable; they change no decision",
    ),
    ("seawall/storage/keystore.py", ("secrets.token_bytes", "secrets.token_hex"), "salt and nonce"),
    ("seawall/ingestion/live.py", NETWORK, "the feed of live exchanges"),
    ("seawall/venues/ccxt/*", NETWORK, "real exchanges, in a thread of their own"),
    ("seawall/venues/alpaca/*", (*NETWORK, "time"), "one more, in the same thread"),
    ("seawall/venues/simulated/server.py", NETWORK, "the simulated venue behind a socket"),
    ("seawall/venues/simulated/client.py", NETWORK, "speaks to that socket"),
    ("seawall/lab/research/workers.py", ("socket",), "does a Ray cluster answer at all"),
    ("seawall/exchange/server.py", NETWORK, "the practice exchange on this machine"),
    ("seawall/exchange/sockets.py", NETWORK, "its WebSockets"),
    ("seawall/api/*", (*NETWORK, "time"), "the web server, in a thread of its own"),
    ("seawall/cli/*", (*ENVIRONMENT, "time.monotonic", "time.perf_counter"), "the edge"),
    ("seawall/cli/provenance.py", ("httpx",), "asks a running node, on this machine by default"),
    ("seawall/node/node.py", ("time.monotonic",), "how often the page is told; never on the path"),
)

# What may be made in one layer only, so that nothing else can let itself through.
MADE_IN = {
    "seawall.core.events.Admitted": "admission",
    "seawall.core.intents.Approved": "risk",
}

LONGEST_FUNCTION = 70
LONGEST_FILE = 600
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers"}
QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "JoinableQueue")
# Beside the path: whatever waits here must have an end, or a slow reader eats the memory.
BOUNDED = ("api", "bus", "exchange", "ingestion", "monitoring", "storage", "venues")

Call = tuple[int, str, ast.Call]


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def layer(self) -> str:
        """The folder or file right under seawall/; empty for seawall itself."""
        return [*self.module.split("."), ""][1]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """(line, dotted name) of all imports, also inside functions and by a literal name."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        for line, name, call in self.calls:
            if name in ("importlib.import_module", "__import__") and call.args:
                match call.args[0]:
                    case ast.Constant(value=str(literal)):
                        found.append((line, literal))
        return found

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".")
        climb = node.level - self.path.endswith("/__init__.py")
        parts = package[: len(package) - climb] + ([node.module] if node.module else [])
        return ".".join(parts)

    @cached_property
    def _bound(self) -> dict[str, str]:
        """Local name → what it was imported as."""
        names = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    names[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{self._origin(node)}.{alias.name}"
        return names

    def resolve(self, node: ast.expr) -> str:
        """`np.random.normal` → `numpy.random.normal`; what was not imported stays; else ''."""
        if isinstance(node, ast.Name):
            return self._bound.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""

    @cached_property
    def uses(self) -> list[tuple[int, str]]:
        """(line, dotted name) of every use of what was imported, each at its full length."""
        inner = {id(node.value) for node in self.nodes if isinstance(node, ast.Attribute)}
        return [
            (node.lineno, self.resolve(node))
            for node in self.nodes
            if isinstance(node, ast.Name | ast.Attribute)
            and id(node) not in inner
            and _root(node) in self._bound
        ]

    @cached_property
    def calls(self) -> list[Call]:
        return [
            (node.lineno, self.resolve(node.func), node)
            for node in self.nodes
            if isinstance(node, ast.Call)
        ]

    def at(self, line: int, text: str) -> str:
        return f"{self.path}:{line}: {text}"


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _within(name: str, prefixes: Iterable[str]) -> str:
    """The prefix that `name` is or lies in; empty where there is none."""
    return next((p for p in prefixes if name == p or name.startswith(p + ".")), "")


def sources(folder: Path = ROOT / "seawall") -> list[Source]:
    """Every Python file of a folder, in order."""
    return [
        Source(path.relative_to(folder.parent).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
    ]


# --- who may import whom ---


def known_places(source: Source) -> list[str]:
    """Every folder of seawall is one of the house."""
    if source.layer in {"", "__main__"} | RANK.keys() | SERVICES:
        return []
    return [source.at(1, f"{source.layer} is no part of the house (see LAYERS)")]


def import_order(source: Source) -> list[str]:
    """A stage imports only what stands before it on the path."""
    found = []
    for line, name in source.imports:
        parts = name.split(".")
        if parts[0] != "seawall" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        if not _may_import(source.layer, parts[1]):
            found.append(source.at(line, f"{source.layer or 'seawall'} must not import {parts[1]}"))
    return found


def _may_import(layer: str, other: str) -> bool:
    if layer == "__main__":
        return True
    if layer == other or (other == "core" and layer):
        return True
    if other in SERVICES:
        return layer in USES_SERVICES
    return RANK.get(other, len(LAYERS)) < RANK.get(layer, 0)


def cycles(tree: Sequence[Source]) -> list[str]:
    """No module reaches itself by its imports, not even by one inside a function."""
    modules = {source.module for source in tree}
    graph = {
        source.module: {
            target
            for _, name in source.imports
            if (target := _module_of(name, modules)) and target != source.module
        }
        for source in tree
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return ["a cycle: " + " ← ".join(error.args[1])]
    return []


def _module_of(name: str, modules: set[str]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


# --- what reaches outside, and what would make two runs differ ---


def outside(source: Source) -> list[str]:
    """No clock, randomness, environment or network but in a port."""
    allowed = PURE + tuple(
        name for path, names, _ in PORTS if fnmatchcase(source.path, path) for name in names
    )
    # To import `numpy.random` may be a step to what is allowed; its uses then show where it led.
    named = [i for i in source.imports if not any(a.startswith(i[1] + ".") for a in allowed)]
    found = {
        source.at(line, f"{name} {OUTSIDE[prefix]}: only a port may (see PORTS)")
        for line, name in named + source.uses
        if (prefix := _within(name, OUTSIDE)) and not _within(name, allowed)
    }
    found |= {
        source.at(node.lineno, "rvs draws random numbers: only a port may (see PORTS)")
        for node in source.nodes
        if isinstance(node, ast.Attribute) and node.attr == "rvs"
    }
    return sorted(found)


def same_bits(source: Source) -> list[str]:
    """Nothing that lets a compiler or a thread reorder a sum."""
    found = [
        source.at(node.value.lineno, f"{node.arg} changes the bits")
        for node in source.nodes
        if isinstance(node, ast.keyword)
        and node.arg in ("fastmath", "parallel")
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    found += [
        source.at(line, "prange changes the bits")
        for line, name in source.imports + source.uses
        if name.split(".")[-1] == "prange"
    ]
    return found


def kernels_alone(source: Source) -> list[str]:
    """A file that imports Numba holds kernels, and named tuples of arrays for their state."""
    if not any(_within(name, ("numba",)) for _, name in source.imports):
        return []
    found = []
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef) and not any(
            source.resolve(d.func if isinstance(d, ast.Call) else d) == "numba.njit"
            for d in node.decorator_list
        ):
            found.append(source.at(node.lineno, f"{node.name} is no kernel: it has no njit"))
        if isinstance(node, ast.ClassDef) and "typing.NamedTuple" not in map(
            source.resolve, node.bases
        ):
            found.append(source.at(node.lineno, f"{node.name} is no NamedTuple"))
    return found


def made_in_place(source: Source) -> list[str]:
    """Rows are Admitted in admission alone, and intents Approved in risk alone."""
    makers = {"seawall.core.records.Approved": "risk", **MADE_IN}
    found = []
    for line, name, call in source.calls:
        # Also where the type is handed to whatever makes one of it: a decoder, `replace`, `cast`.
        given = (source.resolve(argument) for argument in call.args)
        for made in (name.removesuffix(".__new__"), *given):
            if (layer := makers.get(made)) not in (None, source.layer) and not _asks(name):
                kind = made.rpartition(".")[2]
                found.append(source.at(line, f"{kind} is made in {layer} alone"))
    return found


def _asks(name: str) -> bool:
    """Whether a call only asks what something is."""
    return name in ("isinstance", "issubclass")


# --- how it is written ---


def docstring(source: Source) -> list[str]:
    """A module says what it is for."""
    if ast.get_docstring(source.tree):
        return []
    return [source.at(1, "the module opens without a docstring")]


def sizes(source: Source) -> list[str]:
    """Functions and files that one can read."""
    found = []
    if (lines := len(source.text.splitlines())) > LONGEST_FILE:
        found.append(source.at(1, f"{lines} lines, more than {LONGEST_FILE}"))
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.body[0].lineno + 1
            if length > LONGEST_FUNCTION:
                text = f"{node.name} has {length} lines, more than {LONGEST_FUNCTION}"
                found.append(source.at(node.lineno, text))
    return found


def names(source: Source) -> list[str]:
    """No module called after nothing in particular."""
    words = {word for part in source.module.split(".") for word in part.lower().split("_")}
    return [source.at(1, f"'{word}' says nothing") for word in sorted(words & VAGUE)]


def bare_except(source: Source) -> list[str]:
    """An `except:` swallows even the wish to stop."""
    return [
        source.at(node.lineno, "a bare except")
        for node in source.nodes
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def bounded_queues(source: Source) -> list[str]:
    """Every queue between threads has an end; beside the path so has every deque."""
    found = []
    for line, name, call in source.calls:
        if name == "collections.deque" and source.layer in BOUNDED:
            unbounded = _argument(call, 1, "maxlen") is None
        elif _is_queue(name):
            unbounded = name.endswith("SimpleQueue") or _argument(call, 0, "maxsize") is None
        else:
            unbounded = False
        if unbounded:
            found.append(source.at(line, f"{name} without a bound"))
        factory = next((k.value for k in call.keywords if k.arg == "default_factory"), None)
        made = source.resolve(factory) if factory else ""
        if _is_queue(made) or (made == "collections.deque" and source.layer in BOUNDED):
            found.append(source.at(line, f"{made} without a bound"))
    return found


def _is_queue(name: str) -> bool:
    module, _, kind = name.rpartition(".")
    return kind in (*QUEUES, "SimpleQueue") and module in ("queue", "asyncio", "multiprocessing")


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    """The argument, unless it is missing or says that there is no bound (0, None, negative)."""
    given = [k.value for k in call.keywords if k.arg == keyword] + call.args[position:][:1]
    match given:
        case [] | [ast.Constant(value=0 | None)] | [ast.UnaryOp(op=ast.USub())]:
            return None
    return given[0]


RULES: tuple[Callable[[Source], list[str]], ...] = (
    known_places,
    import_order,
    outside,
    same_bits,
    kernels_alone,
    made_in_place,
    docstring,
    sizes,
    names,
    bare_except,
    bounded_queues,
)


# --- documents and tests ---


def links(page: Path, text: str) -> list[str]:
    """Relative links of a Markdown page that lead nowhere."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    inline = re.findall(r"\]\(\s*<?([^)>\s]+)", prose)
    footers = re.findall(r"^\[[^\]]+\]:\s*(\S+)", prose, flags=re.MULTILINE)
    return [
        f"{page.name}: {target} does not exist"
        for target in inline + footers
        if not re.match(r"[a-z][a-z0-9+.-]*:|#", target)
        and not (page.parent / target.partition("#")[0]).exists()
    ]


def pages(root: Path = ROOT) -> Iterator[Path]:
    """README.md and everything under docs/."""
    yield from root.glob("README.md")
    yield from sorted(root.glob("docs/**/*.md"))


def strangers(tests: Iterable[str], packages: Iterable[str]) -> list[str]:
    """Folders of tests that mirror nothing in seawall."""
    return [f"tests/{name} mirrors nothing" for name in sorted(set(tests) - set(packages))]
