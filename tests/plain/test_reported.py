"""A miner's own word for its power, as a meter."""

import pytest
from simulated import simulated

from hwkit import plugins
from hwkit.errors import DeviceLost, NoDevice, PlanError
from hwkit.protocols import Provenance, Scope
from hwkit.testing import MeterContract


def meter_of(port, more=""):
    [found] = plugins.meters(f"reported:127.0.0.1:{port}{more}")
    return found


class TestItsContract(MeterContract):
    answers_within_s = 30.0  # a machine that is busy

    @pytest.fixture
    def meter(self):
        with simulated("whatsminer", power_w=3250.0) as miner:
            yield meter_of(miner.api_port)


def test_it_says_what_it_draws_and_who_says_so():
    with simulated("whatsminer", power_w=3250.0) as miner:
        meter = meter_of(miner.api_port, "?interval=2")
        told = meter.open()
        assert told["dialect"] == "whatsminer"
        assert "/Power" in told["source"]
        assert (meter.spec.scope, meter.spec.provenance) == (Scope.WALL, Provenance.PSU)
        assert meter.spec.accuracy is None
        assert meter.spec.interval_s == 2.0
        reading = meter.read()
        assert reading.watts == pytest.approx(3250, rel=0.05)
        assert reading.took_ns > 0
    with pytest.raises(DeviceLost):
        meter.read()


def test_one_that_tells_none_is_no_meter():
    with simulated("cgminer") as miner, pytest.raises(NoDevice, match="tells no power"):
        meter_of(miner.api_port).open()


def test_an_address_that_makes_no_sense():
    with pytest.raises(PlanError, match="no option 'scope'"):
        meter_of(4028, "?scope=wall")
