from types import SimpleNamespace

from framework import CSVLogger, EarlyStopping, TrainModule
from framework.module.ranks.own import settings_of_rank, wants_all_ranks
from framework.module.settings import FitSettings


class Quiet:
    def on_started(self):
        pass


def test_elsewhere_than_on_rank_0_only_what_asks_for_all_ranks_runs():
    stopping, quiet = EarlyStopping("val/loss"), Quiet()
    given = FitSettings(
        **{**TrainModule.fit.__kwdefaults__, "max_epochs": 1, "handlers": [quiet, stopping], "loggers": [CSVLogger()], "seed": 7}
    )
    assert settings_of_rank(given, None) is given
    assert settings_of_rank(given, SimpleNamespace(is_main=True)) is given
    other = settings_of_rank(given, SimpleNamespace(is_main=False))
    assert (other.handlers, other.loggers, other.progress, other.seed) == ([stopping], (), False, 7)


def test_a_handler_asks_for_all_ranks_by_its_attribute():
    assert wants_all_ranks(EarlyStopping("val/loss"))
    assert not wants_all_ranks(Quiet())
    assert wants_all_ranks(SimpleNamespace(all_ranks=True))
