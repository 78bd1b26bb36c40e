//! How it is measured, in words. Kept next to the code that does it: whoever
//! changes one changes the other.

/// The part of the page that holds before any run.
pub(super) const METHOD: &str = "\
## How to measure

`make bench` builds the release profile, runs everything and writes this page, its plots and
`performance/summary.json`. It takes about half an hour with the sizes that the goals name and needs
a machine that does nothing else. The raw results of every run stay in `target/bench/results.json`,
and `hookplane-bench report` makes the page again from them. `make bench-smoke` shows in a
minute that the bench works; its figures mean nothing.

## What runs

All on one machine over loopback, each a process of its own, in the same run:

- **The agent**, with its configuration from a control plane: one Clerk source, one destination unless
  stated, a filter that reads the body of every event, reports to the control plane, and a scrape
  of `/metrics` each second. Started anew on an empty store for each load.
- **The bare server**: hyper on one thread, reads the request and answers 200. It verifies and
  stores nothing. Rates are divided by its rate in the same round.
- **The load generator**: keep-alive HTTP/1.1 connections, a body of 1,536 bytes of JSON, each request with
  an id of its own that looks random, signed as Clerk signs. It never sends twice. The same
  generator loads the bare server, and signs there too. It shares the cores with the server under test.
- **The sink**: hyper on one thread, answers 200, keeps one bit for each message, and checks that
  the body it got belongs to the id it got.

## What each figure is

Figures are medians over the rounds; ratios are made within a round. Before each load that counts there is a
shorter one that does not.

- **Flush**: a write of 2 KiB and an fdatasync, 500 times, on the same file system in each round. Ratios use the
  median over blocks that were written before, the faster kind.
- **Accepts**: closed loop. The sink takes deliveries and does not answer them, so requests are verified, routed,
  stored with their waiting event, and answered. Afterwards the sink answers and all of it has to arrive.
- **Accepted and delivered**: closed loop; requests acknowledged, divided by the time from the first request
  until the *last* of them was delivered. A backlog at the end of the load counts against the rate.
- **Processor time**: user and system time of the agent over that whole time, from `/proc`.
- **Latency at half the rate**: requests are due at fixed times, at half the rate of the round's accepted and delivered;
  latency counts from when a request was due, so a stall is not hidden. Deliveries go on
  meanwhile.
- **Beside bad destinations**: a healthy destination gets 500 events a second, first alone, then while another source of
  the same agent sends as many to each of three others: one hangs, one answers 500, one is a hundred times
  slower. Latency is from when a request was due until the sink has its delivery, by one clock.
- **Stored**: one agent is filled; the rate is measured on the way, and at the end as often as a plot's points.
- **Bytes written**: `write_bytes` of the agent in `/proc`, which are the pages it made the kernel write, divided by
  the bytes of the requests on the wire, heads included. The disk's own counter is in the raw results.
- **Memory**: resident, two seconds after the configuration arrived, and the most of samples taken ten times a second.
- **SIGKILL**: in the middle of a load, then from the start of the new process to its first 2xx. The kernel's cache is warm:
  this is the death of a process, not of a machine.

## What keeps it honest

- **Nothing acknowledged may be missing.** After every load, SIGKILL included, the sink is asked for each number that was
  answered 2xx, at each destination. One that is missing makes the run fail.
- **Flushes really happen.** They are counted by the disk (`/sys/dev/block/*/stat`), not by the agent. With one connection no two
  answers can share a flush: fewer flushes than answers make the run fail, and as many, less those of the
  machine at rest, show that every answer had its own. Under load one flush can stand behind as many answers as there
  are connections; fewer make the run fail. A disk without a cache, or a kernel that does not count, is reported as not shown.
- **Other work is seen.** Processor time of programs that are not part of the bench is measured
  before each round and during each load, and the page says so when there was any. It would raise the flush
  counter too: flushes are shown on a quiet machine only.
- **What is smaller than its goal gets no verdict**: neither a debug build, nor `--quick`, nor a store below the
  size that the goal names.

What this cannot say: how it behaves on a disk that loses its cache at a power cut, over a real network, or with
senders and receivers on other machines.
";
