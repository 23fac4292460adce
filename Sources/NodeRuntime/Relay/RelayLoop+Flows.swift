internal import ClusterModel
internal import Glibc
internal import ZeroMQ

/// Set-up, delivery and end of flows.
extension RelayLoop {
    // MARK: - Set-up

    func advanceHandshake(_ flow: RelayFlow) {
        guard case .handshake(var handshake) = flow.phase else { return }
        let descriptor = flow[leg: flow.dialler].descriptor
        while true {
            switch handshake.step() {
            case .need(let count):
                let (transfer, bytes) = LoopbackSocket.read(descriptor, count: count)
                switch transfer {
                case .moved: handshake.receive(bytes)
                case .wouldBlock:
                    flow.phase = .handshake(handshake)
                    return
                case .ended, .failed:
                    refuse(flow, [])
                    return
                }
            case .answer(let bytes):
                guard LoopbackSocket.write(descriptor, bytes) else {
                    refuse(flow, [])
                    return
                }
            case .refuse(let bytes):
                refuse(flow, bytes)
                return
            case .connect(let destination):
                flow.phase = .crossing
                send(
                    .dial(destination), of: flow, from: flow.dialler,
                    bytes: RelayLimits.controlBytes, MonotonicClock.now())
                return
            }
        }
    }

    private func dial(_ destination: SocksDestination, for flow: RelayFlow) {
        let side = flow.dialler.other
        let hops = chains[flow.dialler.rawValue].map {
            SocksDestination(isIPv6: false, ipv4: 0x7f00_0001, port: $0)
        }
        if !hops.isEmpty { flow.targets = hops.dropFirst() + [destination] }
        do {
            flow[leg: side].descriptor = try LoopbackSocket.connect(
                to: hops.first ?? destination, bufferBytes: RelayLimits.socketBufferBytes)
            flow.phase = .dialling
            watch(flow, side)
        } catch {
            answer(flow, error.code == ECONNREFUSED ? .connectionRefused : .hostUnreachable)
        }
    }

    func connected(_ flow: RelayFlow) {
        guard flow.targets.isEmpty else {
            flow.phase = .chaining(SocksChain(flow.targets))
            advanceChain(flow)
            return
        }
        established(flow)
    }

    /// Lets the proxies of further links connect one after another.
    func advanceChain(_ flow: RelayFlow) {
        guard case .chaining(var chain) = flow.phase else { return }
        let descriptor = flow[leg: flow.dialler.other].descriptor
        while true {
            switch chain.step() {
            case .send(let bytes):
                guard LoopbackSocket.write(descriptor, bytes) else {
                    chainFailed(flow, .hostUnreachable)
                    return
                }
            case .need(let count):
                let (transfer, bytes) = LoopbackSocket.read(descriptor, count: count)
                switch transfer {
                case .moved: chain.receive(bytes)
                case .wouldBlock:
                    flow.phase = .chaining(chain)
                    return
                case .ended, .failed:
                    chainFailed(flow, .hostUnreachable)
                    return
                }
            case .failed(let reply):
                chainFailed(flow, reply)
                return
            case .connected:
                // What came meanwhile was announced by an edge which will not come again.
                flow[leg: flow.dialler.other].readable = true
                established(flow)
                return
            }
        }
    }

    private func chainFailed(_ flow: RelayFlow, _ reply: SocksHandshake.Reply) {
        LoopbackSocket.close(flow[leg: flow.dialler.other].descriptor)
        flow[leg: flow.dialler.other].descriptor = -1
        answer(flow, reply)
    }

    private func established(_ flow: RelayFlow) {
        flow.phase = .answering
        report[flow.dialler].flowsOpened += 1
        send(
            .reply(.succeeded), of: flow, from: flow.dialler.other,
            bytes: RelayLimits.controlBytes, MonotonicClock.now())
        queue(flow, flow.dialler.other)
    }

    func connectionFailed(_ flow: RelayFlow, _ code: Int32) {
        let side = flow.dialler.other
        LoopbackSocket.close(flow[leg: side].descriptor)
        flow[leg: side].descriptor = -1
        answer(flow, code == ECONNREFUSED ? .connectionRefused : .hostUnreachable)
    }

    /// A refusal crosses the link back like any answer.
    private func answer(_ flow: RelayFlow, _ reply: SocksHandshake.Reply) {
        flow.phase = .refusing
        send(
            .reply(reply), of: flow, from: flow.dialler.other, bytes: RelayLimits.controlBytes,
            MonotonicClock.now())
    }

    private func refuse(_ flow: RelayFlow, _ bytes: [UInt8]) {
        if !bytes.isEmpty {
            _ = LoopbackSocket.write(flow[leg: flow.dialler].descriptor, bytes)
        }
        report[flow.dialler].flowsRefused += 1
        remove(flow)
    }

    private func replied(_ reply: SocksHandshake.Reply, to flow: RelayFlow) {
        guard reply == .succeeded else {
            let said: SocksHandshake.Reply = concealsRefusals ? .succeeded : reply
            refuse(flow, said.bytes)
            return
        }
        guard LoopbackSocket.write(flow[leg: flow.dialler].descriptor, reply.bytes) else {
            legDied(flow, flow.dialler)
            return
        }
        flow.phase = .open
        // What the dialler sent meanwhile was announced by an edge which will not come again.
        flow[leg: flow.dialler].readable = true
        queue(flow, flow.dialler)
    }

    // MARK: - Delivery

    /// Hands over everything that has crossed the link by now.
    func deliverDue() {
        var now = MonotonicClock.now()
        while true {
            guard let delivery = deliveries.next(dueBy: now) else {
                let later = MonotonicClock.now()
                if deliveries.earliest > later { return }
                now = later
                continue
            }
            let lateness = now - delivery.time
            if lateness > report[delivery.source].worstLatenessNanoseconds {
                report[delivery.source].worstLatenessNanoseconds = lateness
            }
            if let flow = flows[delivery.flow] { deliver(delivery, of: flow) }
        }
    }

    private func deliver(_ delivery: Delivery, of flow: RelayFlow) {
        let source = delivery.source
        let channel = flow[channel: source]
        switch delivery.kind {
        case .data(let count):
            channel.segments -= 1
            guard flow[leg: source.other].isOpen else { return }
            channel.ripe += count
            flush(flow, from: source)
        case .end:
            channel.endIsRipe = true
            flush(flow, from: source)
        case .reset:
            remove(flow)
        case .dial(let destination):
            dial(destination, for: flow)
        case .reply(let reply):
            replied(reply, to: flow)
        }
    }

    /// Writes what has crossed the link from `source` as far as the other leg takes it.
    func flush(_ flow: RelayFlow, from source: RelaySide) {
        let target = source.other
        let channel = flow[channel: source]
        while channel.ripe > 0, flow[leg: target].isOpen, flow[leg: target].writable {
            let descriptor = flow[leg: target].descriptor
            switch LoopbackSocket.write(descriptor, from: channel.bytes, atMost: channel.ripe) {
            case .moved(let count):
                channel.ripe -= count
                held[source.rawValue] -= count
                report[source].bytesDelivered += UInt64(count)
            case .wouldBlock:
                flow[leg: target].writable = false
            case .ended, .failed:
                legDied(flow, target)
                return
            }
        }
        if channel.ripe == 0, channel.endIsRipe, !channel.isFinished {
            channel.isFinished = true
            LoopbackSocket.finishWriting(flow[leg: target].descriptor)
            if flow[channel: target].isFinished {
                remove(flow)
                return
            }
        }
        queue(flow, source)
    }

    // MARK: - End

    /// A leg was reset: its process was killed or closed with unread data.
    ///
    /// Nothing more can reach it, and the other side learns of it as over a real path: after what
    /// was sent before, one delay later.
    func legDied(_ flow: RelayFlow, _ side: RelaySide) {
        guard flow[leg: side].isOpen else { return }
        guard !flow.isSettingUp, flow[leg: side.other].isOpen else {
            report[flow.dialler].flowsRefused += flow.isSettingUp ? 1 : 0
            remove(flow)
            return
        }
        LoopbackSocket.close(flow[leg: side].descriptor)
        flow[leg: side].descriptor = -1
        drop(flow, from: side.other)
        flow[channel: side.other].hasEnded = true
        report[side].flowsReset += 1
        send(
            .reset, of: flow, from: side, bytes: RelayLimits.controlBytes, MonotonicClock.now())
    }

    /// Closes what is left of a flow: in order where both directions have ended, else by a reset.
    func remove(_ flow: RelayFlow) {
        closeLegs(of: flow)
        for side in RelaySide.allCases { drop(flow, from: side) }
        flows[flow.id] = nil
    }

    func closeLegs(of flow: RelayFlow) {
        let isOrderly =
            flow.isSettingUp || flow[channel: .a].isFinished && flow[channel: .b].isFinished
        for side in RelaySide.allCases where flow[leg: side].isOpen {
            if isOrderly {
                LoopbackSocket.close(flow[leg: side].descriptor)
            } else {
                LoopbackSocket.reset(flow[leg: side].descriptor)
            }
            flow[leg: side].descriptor = -1
        }
    }

    private func drop(_ flow: RelayFlow, from side: RelaySide) {
        let channel = flow[channel: side]
        held[side.rawValue] -= channel.bytes.count
        channel.bytes.removeAll()
        channel.ripe = 0
    }
}
