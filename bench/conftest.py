"""`python -m pytest bench`: here benchmarks are measured; under tests/ each is one call."""


def pytest_configure(config):
    config.option.benchmark_disable = False
    config.option.benchmark_enable = True
