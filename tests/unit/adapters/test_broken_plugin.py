"""An outside package that does not load stops its own methods and nobody else's."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from petbench.adapters import registry
from petbench.cli import run_command
from petbench.errors import UserError

BODIES = {
    "raises": "raise RuntimeError('no licence [/] \\x1b[31m')",
    "leaves": "raise SystemExit(3)",
    "lacks a package": "import no_such_package_anywhere",
    "is no Python": "def (",
    "takes a name that is taken": (
        "from petbench.adapters.method import register\nfrom petbench.adapters.methods.krona import KronA\n"
        "@register\nclass Mine(KronA):\n    name = 'lora'\n"
    ),
    "has no such attribute": "",
}  # fmt: skip


@pytest.fixture(params=BODIES)
def plugin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One broken entry point beside petbench's own methods."""
    module = f"broken_plugin_{list(BODIES).index(request.param)}"
    (tmp_path / f"{module}.py").write_text(BODIES[request.param])
    monkeypatch.syspath_prepend(str(tmp_path))
    value = f"{module}:nothing" if request.param == "has no such attribute" else module
    point = EntryPoint("gain", value, "petbench.adapters")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    monkeypatch.setattr(registry, "_BROKEN", {})
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry.methods()))
    registry._load_all.cache_clear()
    yield module
    registry._load_all.cache_clear()
    sys.modules.pop(module, None)


def test_only_its_own_methods_are_gone(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert registry.method_named("krona").name == "krona"
    said = capsys.readouterr().err
    assert said.startswith(f"warning: plug-in gain does not load and is left out ({plugin}")
    assert "\x1b" not in said
    with pytest.raises(UserError, match=rf"'gain' is unknown.*The plug-in gain does not load \({plugin}"):
        registry.method_named("gain")
    assert capsys.readouterr().err == ""  # once is enough


def test_other_methods_run(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["params", "model=tiny_bert", "adapter=krona,lora", "--json"]) == 0
    assert run_command(["list", "adapters"]) == 0
    assert '"adapter": "lora"' in capsys.readouterr().out
