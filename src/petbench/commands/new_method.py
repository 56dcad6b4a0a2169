"""`petbench new method NAME --dir DIR`: the skeleton of a package with one method, which passes conformance."""

import keyword
import re
from importlib.resources import files

from petbench.commands.arguments import Arguments, new_folder
from petbench.config.tree import options
from petbench.console import say
from petbench.errors import UserError
from petbench.files import write_text

FILES = {  # in the skeleton -> in the package
    "pyproject.toml.txt": "pyproject.toml",
    "method.py.txt": "petbench_{name}/__init__.py",
    "adapter.yaml.txt": "petbench_{name}/conf/adapter/{name}.yaml",
    "test.py.txt": "tests/test_{name}.py",
}


def new_method_main(argv: list[str]) -> int:
    """Write the package. Raises UserError for a name that is taken or not legal, and for a folder that has files."""
    parser = Arguments(
        prog="petbench new method", description="Write the skeleton of a package with a method of your own."
    )
    parser.add_argument("name", metavar="NAME", help="the method's name, such as my_method")
    parser.add_argument("--dir", required=True, type=new_folder, metavar="DIR", help="a new folder")
    parsed = parser.parse_args(argv)
    name = parsed.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"NAME: got '{name}'. Legal: lower-case letters, digits and _, a letter first, such as my_method."
        )
    if name in options("adapter"):
        raise UserError(f"NAME: there is an adapter={name} already. Choose another name.")
    if parsed.dir.is_dir() and any(parsed.dir.iterdir()):
        raise UserError(f"--dir: {parsed.dir} is not empty. Name a new folder.")
    words = {"{{name}}": name, "{{Name}}": "".join(part.capitalize() for part in name.split("_"))}
    for source, place in FILES.items():
        text = files("petbench.commands").joinpath("skeleton", source).read_text(encoding="utf-8")
        for word, meant in words.items():
            text = text.replace(word, meant)
        target = parsed.dir / place.format(name=name)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text, "--dir")
    say(f"{parsed.dir}: a package with adapter={name}. Next: pip install -e {parsed.dir}")
    say(f"then: petbench conformance {name}; the formula is in petbench_{name}/__init__.py")
    return 0
