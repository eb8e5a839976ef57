"""What Prometheus reads: the status, as metrics. Names and meanings are in docs/operations.md."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from syncd.control.schema import Status


class Metrics(Collector):
    """One registry of its own, so that nothing of the library's defaults leaks in."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, status: Status) -> bytes:
        """The text format for `status`."""
        self._status = status
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        status = self._status
        if status is None:
            return
        yield GaugeMetricFamily("syncd_uptime_seconds", "Time since the daemon started", status.uptime_s)
        yield GaugeMetricFamily("syncd_idle", "1 when nothing waits or runs", float(status.idle))
        yield GaugeMetricFamily("syncd_guards_open", "Guards that wait for a person", status.guards)
        state = GaugeMetricFamily(
            "syncd_service_state", "1 for the state that a service is in", labels=["service", "state"]
        )
        restarts = CounterMetricFamily(
            "syncd_service_restarts", "Restarts after a failure", labels=["service"]
        )
        for service in status.services:
            state.add_metric([service.name, service.state], 1)
            restarts.add_metric([service.name], service.restarts)
        yield state
        yield restarts
        queue = GaugeMetricFamily("syncd_queue_items", "Items of a queue", labels=["queue", "state"])
        for name, items in status.queues.items():
            for what in ("waiting", "running", "failed"):
                queue.add_metric([name, what], getattr(items, what))
        yield queue
        counts = GaugeMetricFamily("syncd_catalogue_items", "Items in the catalogue", labels=["kind"])
        for kind in status.counts.__struct_fields__:
            counts.add_metric([kind], getattr(status.counts, kind))
        yield counts
        done = status.throughput
        yield CounterMetricFamily("syncd_uploads", "Objects confirmed by storage", done.uploaded)
        yield CounterMetricFamily("syncd_uploaded_bytes", "Bytes confirmed by storage", done.uploaded_bytes)
        yield CounterMetricFamily("syncd_photos_inspected", "Photos read and decoded", done.inspected)
        watcher = status.watcher
        yield CounterMetricFamily(
            "syncd_watcher_overflows", "Times that events may have been lost", watcher.overflows
        )
        yield GaugeMetricFamily("syncd_watcher_watches", "Kernel watches in use", watcher.watches)
        yield GaugeMetricFamily(
            "syncd_watcher_polling", "1 when folders are polled", float(watcher.mode == "polling")
        )
