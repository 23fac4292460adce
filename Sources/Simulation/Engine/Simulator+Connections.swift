import ClusterModel
import Coordination
import DequeModule
import WireProtocol

// MARK: - Frames on connections

extension Simulator {
    func frame(
        _ header: FrameHeader, _ message: Message, _ content: PayloadPool.Content?
    ) -> WireFrame {
        if case .modelled(let bytes) = content {
            return plainFrame(header, message, content, payloadBytes: bytes)
        }
        var payload: [UInt8] = []
        switch content {
        case .values(let values): TrainerState.append(values, to: &payload)
        case .encoded(let encoded): payload = encoded.bytes
        case .modelled, nil: break
        }
        do {
            let bytes = try FrameEncoder.encode(
                header: header, message: message, payload: payload.span)
            return WireFrame(
                body: .encoded(bytes),
                bytes: WireSize.message(bytes.count, encrypts: options.encrypts),
                frameBytes: bytes.count)
        } catch {
            checker.find("codec", now, "cannot encode \(message.type): \(error)")
            return plainFrame(header, message, content, payloadBytes: 0)
        }
    }

    /// A frame whose size is known and whose bytes are not.
    func plainFrame(
        _ frameHeader: FrameHeader, _ message: Message, _ content: PayloadPool.Content?,
        payloadBytes: Int
    ) -> WireFrame {
        // A slice in one frame still counts the bytes of the chunks it stands for.
        var frames = 1
        if case .chunk(let chunk) = message {
            let isShared =
                chunk.key.scope == .region && !configuration.schedule.reducesParts
            let most =
                isShared
                ? CollectiveGeometry.chunkElements(of: chunk.transform)
                : CollectiveGeometry.chunkElements
            frames = max(1, (Int(chunk.elements) + most - 1) / most)
        }
        let header = ProtocolLimits.headerBytes + message.type.shape.meta.lowerBound
        let added = WireSize.message(header, encrypts: options.encrypts) - header
        return WireFrame(
            body: .plain(frameHeader, message, content),
            bytes: frames * (header + added) + payloadBytes,
            frameBytes: frames * header + payloadBytes)
    }

    func put(_ frame: WireFrame, on index: Int, direction: Int) {
        let (from, to) = ends(index, direction)
        var frame = frame
        if connections[index].corruptNext[direction], case .encoded(var bytes) = frame.body {
            connections[index].corruptNext[direction] = false
            let place = Int(generator.integer(below: UInt64(bytes.count)))
            bytes[place] ^= UInt8(1 + generator.integer(below: 255))
            frame.body = .encoded(bytes)
        }
        let due = fabric.deliver(
            bytes: frame.bytes, from: region(of: from), to: region(of: to), sender: from,
            isControl: connections[index].purpose == .control, now: now,
            after: connections[index].flows[direction].lastDue)
        connections[index].flows[direction].lastDue = due
        connections[index].flows[direction].frames.append((frame, due))
        scheduleArrival(index, direction)
    }

    private func scheduleArrival(_ index: Int, _ direction: Int) {
        guard !connections[index].flows[direction].isScheduled,
            !connections[index].flows[direction].isHeld,
            let head = connections[index].flows[direction].frames.first
        else { return }
        connections[index].flows[direction].isScheduled = true
        queue.schedule(
            .arrival(
                connection: index, direction: direction,
                generation: connections[index].generation), at: max(now, head.due))
    }

    func arrive(_ index: Int, _ direction: Int, _ generation: UInt64) {
        guard connections[index].generation == generation else { return }
        connections[index].flows[direction].isScheduled = false
        let (from, to) = ends(index, direction)
        if fabric.isCut(from: region(of: from), from, to: region(of: to), to) {
            connections[index].flows[direction].isHeld = true
            return
        }
        guard let head = connections[index].flows[direction].frames.popFirst() else { return }
        hash.add(UInt64(head.frame.bytes))
        scheduleArrival(index, direction)
        guard isAlive(to, on: index) else { return }
        open(head.frame, index, direction, at: to)
    }

    /// Connections whose path was cut go on: TCP sends again what was not acknowledged.
    func releaseHeld() {
        for index in connections.indices {
            for direction in 0..<2 where connections[index].flows[direction].isHeld {
                let (from, to) = ends(index, direction)
                guard !fabric.isCut(from: region(of: from), from, to: region(of: to), to) else {
                    continue
                }
                connections[index].flows[direction].isHeld = false
                let back = now + 200_000_000 + fabric.oneWay(region(of: from), region(of: to))
                let count = connections[index].flows[direction].frames.count
                for place in 0..<count {
                    let due = connections[index].flows[direction].frames[place].due
                    connections[index].flows[direction].frames[place].due = max(due, back)
                }
                connections[index].flows[direction].lastDue = max(
                    connections[index].flows[direction].lastDue, back)
                scheduleArrival(index, direction)
            }
        }
    }

    private func open(_ frame: WireFrame, _ index: Int, _ direction: Int, at receiver: Node) {
        switch frame.body {
        case .plain(let header, let message, let content):
            deliver(header, message, content, index, direction, at: receiver)
        case .encoded(let bytes):
            let isControl = connections[index].purpose == .control
            do {
                let frame = try FrameDecoder.decode(
                    bytes.span, limits: isControl ? .control : .data)
                var content: PayloadPool.Content?
                if frame.message.carriesPayload {
                    content = self.content(bytes, frame)
                }
                deliver(frame.header, frame.message, content, index, direction, at: receiver)
            } catch {
                // A stream with a damaged frame has lost a message: the driver closes it, and both
                // sides start again from what they have acknowledged.
                record(.note(source: "transport", text: "bad frame: \(error)"), from: "transport")
                reset(index)
            }
        }
    }

    private func content(_ bytes: [UInt8], _ frame: Frame) -> PayloadPool.Content {
        guard host != nil else {
            return .values(TrainerState.values(of: bytes.span, in: frame.payload))
        }
        let payload = Array(bytes[frame.payload])
        var message = frame.message
        if case .relay(let relay) = message { message = relay.inner }
        guard case .chunk(let chunk) = message else {
            return .encoded(EncodedBytes(payload, transform: .fp32, stage: .stored))
        }
        return .encoded(EncodedBytes(payload, transform: chunk.transform, stage: chunk.stage))
    }

    private func deliver(
        _ header: FrameHeader, _ message: Message, _ content: PayloadPool.Content?, _ index: Int,
        _ direction: Int, at receiver: Node
    ) {
        let connection = connections[index]
        if options.notesFrames {
            let (from, to) = ends(index, direction)
            record(
                .note(
                    source: "wire",
                    text: "\(from) -> \(to) epoch \(header.epoch.rawValue) #\(header.sequence) "
                        + "\(message)"), from: "wire")
        }
        switch (receiver, connection.purpose) {
        case (.coordinator, .control):
            // Drivers keep reports from the machine; they were recorded when they were sent.
            if case .event = message { return }
            tell(
                .message(
                    from: connection.acceptedAs, name: workers[connection.dialler].name,
                    incarnation: header.incarnation, message, epoch: header.epoch))
        case (.worker(let seat), .control):
            tell(seat, .control(message, epoch: header.epoch))
        case (.worker(let seat), .lane):
            guard let lane = lane(index, direction, message, at: seat) else { return }
            var handle: PayloadHandle?
            if let content { handle = workers[seat].pool.store(content) }
            tell(
                seat,
                .lane(
                    lane,
                    Worker.LaneFrame(
                        incarnation: header.incarnation, epoch: header.epoch,
                        sequence: header.sequence, message: message, payload: handle,
                        payloadBytes: content?.bytes ?? 0)))
        case (.coordinator, .lane): preconditionFailure("a lane to the coordinator")
        }
    }

    /// The lane a frame belongs to; nil for one that does not say hello first, or was replaced.
    private func lane(
        _ index: Int, _ direction: Int, _ message: Message, at seat: Int
    ) -> LaneID? {
        let connection = connections[index]
        guard direction == 0 else {
            guard let lane = connection.dialledLane, workers[seat].dialled[lane] == index else {
                return nil
            }
            return lane
        }
        let lane = connection.acceptedLane
        if case .laneHello = message {
            connections[index].isIntroduced = true
            workers[seat].accepted[lane] = index
        }
        guard connections[index].isIntroduced, workers[seat].accepted[lane] == index else {
            return nil
        }
        return lane
    }

    // MARK: Ends

    func ends(_ index: Int, _ direction: Int) -> (from: Node, to: Node) {
        let dialler = Node.worker(connections[index].dialler)
        let acceptor = connections[index].acceptor
        return direction == 0 ? (dialler, acceptor) : (acceptor, dialler)
    }

    func region(of node: Node) -> RegionID {
        switch node {
        case .coordinator: topology.coordinatorRegion
        case .worker(let seat): workers[seat].region
        }
    }

    /// Whether the process this connection was made with still runs.
    func isAlive(_ node: Node, on index: Int) -> Bool {
        let connection = connections[index]
        switch node {
        case .coordinator: return coordinator.state == .running
        case .worker(let seat):
            let life =
                seat == connection.dialler ? connection.diallerLife : connection.acceptorLife
            return workers[seat].isRunning && workers[seat].life == life
        }
    }
}

extension Message {
    var carriesPayload: Bool {
        if case .relay(let relay) = self { return relay.inner.carriesPayload }
        return type.shape.payload.upperBound > 0 && type.isPermitted(on: .data)
    }
}
