"""`petbench train --help`: examples, all choices, and every setting with its default and its comment."""

from collections.abc import Iterator

from petbench.config.tree import conf_dir, options

EXAMPLES = """petbench train [OVERRIDES…]: train and score one run, or several with -m or sweep=NAME.

examples
  petbench train adapter=krona task=sst2 data=toy model=tiny_bert optim.lr=2e-2 trainer.max_steps=300
                                                                      a first look: seconds, no download
  petbench train adapter=lora task=rte model=roberta_base             GLUE's rows from the hub
  petbench train adapter=krona task=rte data.dir=DIR                  rows from a local folder
  petbench train adapter=lora adapter.rank=4 optim.lr=1e-3 task=rte   settings of the method and the optimiser
  petbench train -m adapter=krona,lora seed=0,1,2 task=rte            2 x 3 runs; done ones are skipped
  petbench train -m adapter=krona,lora seed=0,1,2 task=rte hydra/launcher=joblib hydra.launcher.n_jobs=4
  petbench train sweep=choose data.file=tickets.csv --minutes 30
  petbench train sweep=tuned budget_runs=8 adapter=krona,lora task=rte
  petbench train adapter=krona task=rte plan=true                     show what would run, and run nothing

flags
  -m                several values multiply out      --config-dir DIR   a folder with your own config groups
  --no-retry        skip failed runs of a sweep      --cfg job          print the composed config
  --hydra-help      Hydra's own flags                --debug            the traceback of an error

choices, GROUP=NAME (`petbench list adapters` describes each in a line, `petbench info krona` one in full)
"""
CHOSEN = ("adapter", "task", "model", "data", "protocol", "trainer", "logger", "sweep", "recipe")
SETTINGS = ("trainer/default", "base/task", "base/data", "base/protocol", "base/model", "logger/wandb")
LINE = 100


def help_text() -> str:
    """The whole text."""
    lines = [f"  {group:<9} {_wrapped(options(group))}" for group in CHOSEN]
    return EXAMPLES + "\n".join([*lines, "", *_settings()]) + "\n"


def _wrapped(names: list[str]) -> str:
    """Names with commas, in lines below the first name."""
    rows, row = [], ""
    for name in names:
        if row and len(row) + len(name) > LINE:
            rows.append(row)
            row = ""
        row += f"{name}, "
    rows.append(row)
    return "\n            ".join(rows).rstrip(" ,")


def _settings() -> Iterator[str]:
    """The keys of the YAMLs with their defaults and comments."""
    yield "settings, with their defaults (adapter.*: `petbench info METHOD`)"
    yield from _keys("config", "")
    for name in SETTINGS:
        group, _, choice = name.partition("/")
        yield from _keys(name, f"{choice if group == 'base' else group}.")


def _keys(name: str, prefix: str) -> Iterator[str]:
    path = conf_dir() / f"{name}.yaml"
    inside = ""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        key = line.partition(":")[0]
        if line.startswith((" ", "-")):
            if inside and inside not in ("defaults", "hydra") and ":" in line:
                yield f"  {prefix}{inside}.{line.strip()}"
        elif line.strip() and not line.startswith("#"):
            inside = key
            if line.partition(":")[2].strip():
                yield f"  {prefix}{line}"
