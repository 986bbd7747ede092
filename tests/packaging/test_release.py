"""What a release must have changed everywhere."""

from __future__ import annotations

import re
import tomllib

from harness.distributions import REPOSITORY


def test_every_place_tells_the_same_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    places = {
        "meson.build": r"^  version: '(.*)',$",
        "pycontain/__init__.py": r'^__version__ = "(.*)"$',
        "debian/changelog": r"\Apycontain \((.*)\) ",
    }
    found = {place: re.findall(line, (REPOSITORY / place).read_text(), re.M) for place, line in places.items()}
    assert found == {place: [version] for place in places}
    assert re.search(rf"^(Version |## \[){re.escape(version)}\b", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)


def test_what_is_bundled_is_a_dependency_that_debian_lacks_and_is_declared() -> None:
    dependencies = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w-]+", dependency)[0] for dependency in dependencies}  # type: ignore[index]
    lines = (REPOSITORY / "debian/bundled/requirements.txt").read_text().splitlines()
    bundled = dict(line.split(" ")[0].split("==") for line in lines if not line.startswith("#"))
    assert set(bundled) <= names
    control = (REPOSITORY / "debian/control").read_text()
    for name, version in bundled.items():
        assert f" python3-{name} (= {version})," in control
        assert name in (REPOSITORY / "debian/py3dist-overrides").read_text().split()
        assert f"{name}-{version}" in (REPOSITORY / "debian/rules").read_text()
