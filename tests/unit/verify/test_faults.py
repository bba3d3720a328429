"""Faults by name; an order that the seed decides; mutants that still apply."""

import shutil
from pathlib import Path

import pytest

from notifiws.verify.faults import CATALOGUE, SCENARIOS, Fault, UnknownFault, chosen, possible
from notifiws.verify.rig import Rig, Target
from tests.mutants.catalogue import MUTANTS
from tests.mutants.run import ROOT, apply


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", []),
        ("kill:node", ["kill:node"]),
        ("freeze", ["freeze:listener", "freeze:node", "freeze:valkey", "freeze:postgres"]),
        ("rolling,flush, rolling", ["rolling:node", "flush:valkey"]),
        ("node-redis", ["half-open:node-redis", "one-way:node-redis", "slow:node-redis", "reset:node-redis"]),
    ],
)
def test_faults_are_chosen_by_kind_by_place_or_by_both(text: str, names: list[str]) -> None:
    assert [str(fault) for fault in chosen(text)] == names


def test_all_are_all_and_each_has_words() -> None:
    assert chosen("all") == list(CATALOGUE)
    assert all(fault.words for fault in CATALOGUE)
    assert len(chosen("cut")) == 20


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_is_some_faults(name: str) -> None:
    assert chosen(SCENARIOS[name])


@pytest.mark.parametrize("text", ["kil", "kill:nod", "kill,nothing"])
def test_a_misspelt_fault_is_named(text: str) -> None:
    with pytest.raises(UnknownFault, match=r"kil|nothing"):
        chosen(text)


def test_a_lent_stack_is_hurt_only_where_it_can_be() -> None:
    targets = [Target(kind, kind, lambda: None, None) for kind in ("listener", "node")]
    rig = Rig("postgresql://", "redis://", [], targets, {"client-node": []})
    assert Fault("kill", "node") in possible(CATALOGUE, rig)
    assert Fault("slow", "client-node") in possible(CATALOGUE, rig)
    assert Fault("kill", "postgres") not in possible(CATALOGUE, rig)
    assert Fault("slow", "node-redis") not in possible(CATALOGUE, rig)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_still_applies(mutant: object, tmp_path: Path) -> None:
    """It replaces a text of the product. When this fails, write the mutant anew: the promise it breaks still stands."""
    for edit in mutant.edits:  # type: ignore[attr-defined]
        (tmp_path / edit.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / edit.path, tmp_path / edit.path)
    apply(mutant, tmp_path)  # type: ignore[arg-type]
    for edit in mutant.edits:  # type: ignore[attr-defined]
        if edit.path.endswith(".py"):
            compile((tmp_path / edit.path).read_text(encoding="utf-8"), edit.path, "exec")
