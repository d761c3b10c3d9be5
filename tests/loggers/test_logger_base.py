"""Four verbs, which do nothing unless they are written."""

import pytest

from framework import Logger, RunFacts
from framework.loggers.base import VERBS

FACTS = RunFacts(verb="fit", module="Net", hparams={}, settings={}, seed=0)


def test_who_inherits_writes_what_it_needs():
    class Rows(Logger):
        def __init__(self):
            self.seen = []

        def row(self, values):
            self.seen.append(values)

    logger = Rows()
    logger.begin(FACTS)
    logger.points(1, 1, 0.5, {"train/loss": 1.0})
    logger.row({"epoch": 1})
    logger.close("completed", "max_epochs=1 was reached.")
    assert logger.seen == [{"epoch": 1}]


def test_what_has_the_verbs_is_a_logger_and_nothing_else_is():
    verbs = {name: lambda self, *given: None for name in VERBS}
    assert isinstance(type("Own", (), verbs)(), Logger)
    for name in VERBS:
        assert not isinstance(type("Lacks", (), {**verbs, name: None})(), Logger)


def test_facts_of_a_run_that_begins():
    assert (FACTS.run_dir, FACTS.goes_on_from, FACTS.points_until, FACTS.rows_until) == (None, None, -1, -1)
    with pytest.raises(AttributeError):
        FACTS.seed = 1
