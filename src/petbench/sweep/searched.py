"""A sweep whose members a search (Optuna) chooses by their selection scores; all its runs are trials."""

import shlex

from petbench.compose.expand import expand, recompose, without_sweeps
from petbench.config.tree import key_of
from petbench.console import say, warn
from petbench.errors import UserError
from petbench.record.units import measured
from petbench.sweep.launch import search
from petbench.sweep.member import member_job
from petbench.sweep.members import Member, members_of
from petbench.sweep.outcome import show_outcome
from petbench.sweep.trials import final_note, of_search


def run_searched(overrides: list[str], config_dir: str | None) -> list[Member]:
    """Run a sweep whose sweeper chooses members by their selection scores: trials, which the report leaves out.

    One member is validated before the search starts. Raises UserError for a recipe, whose settings are fixed.
    """
    if any(key_of(override) == "recipe" for override in overrides):
        raise UserError(
            "hydra/sweeper with recipe=: a recipe fixes its settings, so there is nothing to search. "
            "Leave recipe= out and give its values, or `sweep=tuned` for a grid."
        )
    more = of_search(overrides)
    members_of(expand([*without_sweeps(overrides), *more], config_dir))
    launched = search(overrides, member_job, config_dir, more)
    members: list[Member] = []
    for composed in recompose(launched, config_dir):
        try:
            members += members_of([composed])
        except UserError as error:
            warn(str(error))
    members = list({member.run_id: member for member in members}.values())
    for member in members:
        member.before = None  # the sweeper has asked for the run, whether it ran now or earlier
    done = [(member, record) for member in members if (record := member.record) and record.status == "done"]
    scored = [(score, member) for member, record in done if (score := record.selection_score) is not None]
    if members:
        show_outcome(members)
    if scored:
        score, best = max(scored, key=lambda pair: pair[0])
        left_out = ("seed", "tuning", "trainer.threads")
        own = [o.lstrip("+") for o in best.composed.overrides if key_of(o) not in left_out]
        tried = [record for member in members if (record := member.record)]
        note = final_note(len(members), tried).lstrip("+")
        say(f"best on the selection rows: {best.run_id}, {measured(score)}: {' '.join(own)}")
        say(
            "These runs are trials, and `petbench report` leaves them out. To run the best setting on final seeds:"
        )
        say(f"  petbench train -m seed=0,1,2 {shlex.join([*own, note])}")
    return members
