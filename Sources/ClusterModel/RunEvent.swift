/// One fact of a run. Every view (progress, report, run.json) is made of these and of nothing else.
package enum RunEvent: Codable, Equatable, Sendable {
    /// The coordinator has started. `emulated` says whether regions are connected by an emulated link.
    case runStarted(RunStarted)
    case workerJoined(worker: WorkerID, name: String, region: RegionID, incarnation: Incarnation)
    case epochStarted(epoch: Epoch, members: [WorkerID], reason: String)
    /// A worker's inner step, when its gradient is there. Loss is the mean over its own tokens. `at`: when
    /// that was, on the coordinator's clock as far as the worker knows it; nil: when it is recorded.
    case stepped(worker: WorkerID, step: UInt32, loss: Double, tokens: UInt64, at: Instant? = nil)
    /// Validation loss of the parameters a worker holds after `step`.
    case evaluated(worker: WorkerID, step: UInt32, loss: Double, samples: Int)
    case roundCommitted(key: CollectiveKey, digest: UInt64, members: Int, tokens: UInt64)
    /// The coordinator has decided who contributes to a round.
    case roundClosed(RoundClosed)
    /// Somebody has been waited for for `Deadlines.patience`; again when names or `until` change, and after
    /// pauses that double.
    case waiting(
        observer: String, activity: String, names: [String], since: Instant, until: Instant?,
        then: String)
    /// The end of a wait that was told: it lasted from `since` to `until`.
    case waited(
        observer: String, activity: String, names: [String], since: Instant, until: Instant)
    case workerEvicted(worker: WorkerID, name: String, reason: String)
    case workerLeft(worker: WorkerID, name: String, code: UInt16, reason: String)
    /// A peer broke the protocol or sent bytes that cannot be right.
    case violation(culprit: String, what: String)
    case coordinatorLost(worker: WorkerID, since: Instant, until: Instant)
    case coordinatorReturned(worker: WorkerID)
    case checkpointWritten(worker: WorkerID, path: String, step: UInt32, bytes: UInt64)
    case checkpointFailed(worker: WorkerID, path: String, reason: String)
    /// Wall time of the trainer thread since the worker's first step, by what it was spent on.
    case budget(worker: WorkerID, TimeBudget)
    /// Bytes a worker handed to its lanes, by destination region. Cumulative.
    case traffic(worker: WorkerID, Traffic)
    /// Bytes that crossed an emulated link, counted by the relay. Cumulative.
    case linkUse(LinkUse)
    case peakMemory(process: String, bytes: UInt64)
    case modelWritten(worker: WorkerID, path: String, digest: UInt64)
    /// What a worker's contributions to pool rounds took, by class of tensors. Cumulative.
    case codecUse(worker: WorkerID, [TensorClassUse])
    /// How many connections lead from a worker to a peer of another region, and why; said once for each
    /// such region and number.
    case lanesDecided(LaneCount)
    /// How a worker's replica used its experts in one step, block by block.
    case expertUse(worker: WorkerID, step: UInt32, [ExpertUse])
    /// What a round has exchanged of the model's values, under a plan that leaves experts out of rounds.
    case expertsExchanged(round: UInt32, elements: UInt64, of: UInt64)
    /// A plan has started under which regions compute other experts alone than before, or other numbers of
    /// tokens may leave for them.
    case expertOwners(ExpertOwners)
    /// What became of the tokens of a worker that wanted experts of other regions. Cumulative.
    case tokensCrossed(worker: WorkerID, TokensCrossed)
    /// A worker has taken over the state of its peers.
    case stateTaken(StateTaken)
    /// What a member has passed on between two others that have no lane to each other. Cumulative.
    case relayed(worker: WorkerID, [RelayUse])
    case note(source: String, text: String)
    case runEnded(code: Int32, reason: String)

    package struct RoundClosed: Codable, Equatable, Sendable {
        /// One replica's contribution.
        package struct Part: Codable, Equatable, Sendable {
            package var replica: String
            package var weight: UInt64
            package var tokens: UInt64
            package var steps: UInt64
            /// Rounds closed without it since it was in one.
            package var missed: UInt32
            package init(
                replica: String, weight: UInt64, tokens: UInt64, steps: UInt64, missed: UInt32
            ) {
                self.replica = replica
                self.weight = weight
                self.tokens = tokens
                self.steps = steps
                self.missed = missed
            }
        }
        package var key: CollectiveKey
        /// From the first offer on.
        package var after: Interval
        package var taken: [Part]
        /// Replicas that the round was closed without.
        package var late: [String]
        /// The whole sentence.
        package var because: String
        package init(
            key: CollectiveKey, after: Interval, taken: [Part], late: [String], because: String
        ) {
            self.key = key
            self.after = after
            self.taken = taken
            self.late = late
            self.because = because
        }
    }

    package struct RunStarted: Codable, Equatable, Sendable {
        package var run: RunID
        package var version: String
        package var command: [String]
        package var configuration: RunConfiguration
        package var topology: Topology
        package var emulated: Bool
        /// How links are emulated, `relay` or `packet`; nil where nobody said.
        package var emulation: String?
        package var curve: Bool
        package var parameterCount: UInt64
        /// Operating system, processor, cores: what a reader of the report needs to compare.
        package var machine: String
        /// What is real and what is modelled; nil for a run of real processes.
        package var simulated: String?
        /// Cores that all workers share; nil where they run on machines of their own.
        package var sharedCores: Int?
        package init(
            run: RunID, version: String, command: [String], configuration: RunConfiguration,
            topology: Topology, emulated: Bool, curve: Bool, parameterCount: UInt64,
            machine: String, simulated: String? = nil
        ) {
            self.run = run
            self.version = version
            self.command = command
            self.configuration = configuration
            self.topology = topology
            self.emulated = emulated
            self.curve = curve
            self.parameterCount = parameterCount
            self.machine = machine
            self.simulated = simulated
        }
    }

    /// Where the trainer thread's wall time went. The fields sum to `wall` (architecture page:
    /// compute, encode, wait, transfer, decode, apply, recover); `compute` includes pacing.
    package struct TimeBudget: Codable, Equatable, Sendable {
        package var wall = Interval.zero
        package var compute = Interval.zero
        package var encode = Interval.zero
        /// Blocked because a peer or the coordinator had not got there yet.
        package var wait = Interval.zero
        /// Blocked while bytes of the collective were on their way.
        package var transfer = Interval.zero
        package var decode = Interval.zero
        package var apply = Interval.zero
        /// Reconfiguration, state transfer, checkpoints.
        package var recover = Interval.zero
        /// Share of `compute` that pacing added to emulate a slower machine.
        package var paced = Interval.zero
        /// Processor time of the whole process meanwhile, all its threads; nil in older records, and
        /// where time is modelled.
        package var processor: Interval?
        package init() {}
    }

    /// Cumulative counts of one worker's lanes to one region, in frame bytes before encryption.
    package struct Traffic: Codable, Equatable, Sendable {
        package var toRegion: RegionID
        package var frames: UInt64
        package var bytes: UInt64
        package var resent: UInt64
        /// Bits per value really obtained on contributions and means sent to that region.
        package var values: UInt64
        package var encodedBytes: UInt64
        /// Of `bytes`, those of tokens on their way to experts and back; nil where nobody counted.
        package var tokenBytes: UInt64?
        package init(
            toRegion: RegionID, frames: UInt64, bytes: UInt64, resent: UInt64, values: UInt64,
            encodedBytes: UInt64
        ) {
            self.toRegion = toRegion
            self.frames = frames
            self.bytes = bytes
            self.resent = resent
            self.values = values
            self.encodedBytes = encodedBytes
        }
    }

    /// Encoded size of one class of tensors (embedding, matrix, bias, norm).
    package struct TensorClassUse: Codable, Equatable, Sendable {
        package var name: String
        package var values: UInt64
        package var bits: UInt64
        package init(name: String, values: UInt64, bits: UInt64) {
            self.name = name
            self.values = values
            self.bits = bits
        }
    }

    package struct LaneCount: Codable, Equatable, Sendable {
        package var from: RegionID
        package var to: RegionID
        /// Names of the two workers.
        package var worker: String
        package var peer: String
        package var lanes: UInt16
        /// Without a full stop.
        package var because: String
        package init(
            from: RegionID, to: RegionID, worker: String, peer: String, lanes: UInt16,
            because: String
        ) {
            self.from = from
            self.to = to
            self.worker = worker
            self.peer = peer
            self.lanes = lanes
            self.because = because
        }
    }

    /// The experts of one block in one step.
    package struct ExpertUse: Codable, Equatable, Sendable {
        /// Share of the choices of all workers of the replica, by expert; sum 1.
        package var shares: [Double]
        /// Share of this worker's own choices that found their expert full.
        package var dropped: Double
        package init(shares: [Double], dropped: Double) {
            self.shares = shares
            self.dropped = dropped
        }
    }

    package struct ExpertOwners: Codable, Equatable, Sendable {
        /// The turn after which it holds.
        package var turn: UInt32
        /// By expert's number, ``RegionID/none`` where every region computes it; empty: all are so.
        package var owners: [RegionID]
        package var budgets: [TokenBudget]
        package init(turn: UInt32, owners: [RegionID], budgets: [TokenBudget]) {
            self.turn = turn
            self.owners = owners
            self.budgets = budgets
        }
    }

    /// Counts of tokens are summed over blocks.
    package struct TokensCrossed: Codable, Equatable, Sendable {
        /// Steps that experts of other regions could be wanted in: those under a plan with owners.
        package var steps: UInt64 = 0
        package var tokens: UInt64 = 0
        /// By region that they left for; one that leaves for two counts for both.
        package var crossed: [UInt64]
        /// Tokens whose budget was used up, and how many of their choices that changed.
        package var stayed: UInt64 = 0
        package var changed: UInt64 = 0
        package init(regions: Int) { crossed = Array(repeating: 0, count: regions) }
    }

    /// Frames passed on from one member to another.
    package struct RelayUse: Codable, Equatable, Sendable {
        package var from: WorkerID
        package var to: WorkerID
        package var frames: UInt64
        /// Of whole frames, once: they cross a link on the way in and one on the way out.
        package var bytes: UInt64
        package init(from: WorkerID, to: WorkerID, frames: UInt64, bytes: UInt64) {
            self.from = from
            self.to = to
            self.frames = frames
            self.bytes = bytes
        }
    }

    package struct StateTaken: Codable, Equatable, Sendable {
        package struct Source: Codable, Equatable, Sendable {
            package var worker: WorkerID
            package var bytes: UInt64
            package init(worker: WorkerID, bytes: UInt64) {
                self.worker = worker
                self.bytes = bytes
            }
        }
        package var worker: WorkerID
        package var step: UInt32
        package var round: UInt32
        /// From the first description of it to the last digest compared.
        package var took: Interval
        /// Bytes in place when the plan changed on the way, which were not fetched again.
        package var resumedBytes: UInt64
        /// In the order in which they were first asked; fp32 bytes without frames.
        package var sources: [Source]
        package init(
            worker: WorkerID, step: UInt32, round: UInt32, took: Interval, resumedBytes: UInt64,
            sources: [Source]
        ) {
            self.worker = worker
            self.step = step
            self.round = round
            self.took = took
            self.resumedBytes = resumedBytes
            self.sources = sources
        }
        package var bytes: UInt64 { sources.reduce(0) { $0 + $1.bytes } }
    }

    package struct LinkUse: Codable, Equatable, Sendable {
        package var from: RegionID
        package var to: RegionID
        package var bytes: UInt64
        package var flows: UInt64
        package var peakQueueBytes: UInt64
        package init(
            from: RegionID, to: RegionID, bytes: UInt64, flows: UInt64, peakQueueBytes: UInt64
        ) {
            self.from = from
            self.to = to
            self.bytes = bytes
            self.flows = flows
            self.peakQueueBytes = peakQueueBytes
        }
    }
}

/// A run event with its place in the log.
package struct StampedEvent: Codable, Equatable, Sendable {
    /// Since the coordinator started.
    package var time: Instant
    package var source: String
    package var event: RunEvent
    package init(time: Instant, source: String, event: RunEvent) {
        self.time = time
        self.source = source
        self.event = event
    }
}

/// Takes run events from one thread, in order.
package protocol RunEventSink {
    mutating func record(_ event: StampedEvent) throws
}
