"""A driver that takes its time to start."""

import time

time.sleep(1.0)


def echo(request, alive):
    return request
