internal import CZeroMQ
internal import Glibc

extension Socket {
    /// Frames of one message which are read (and discarded) before the peer is considered hostile and
    /// the rest is left to the next call. Longhaul's protocol has one body frame.
    private static var partLimit: Int { 64 }

    /// Sends one frame by a DEALER, PAIR, REQ or REP; `more` announces a further frame.
    ///
    /// After `.sent` the message is empty; after anything else it is unchanged.
    package func send(
        _ message: inout Message, more: Bool = false
    ) throws(ZeroMQError) -> SendOutcome {
        let socket = try unsafe raw()
        let flags = more ? ZMQ_DONTWAIT | ZMQ_SNDMORE : ZMQ_DONTWAIT
        tookCommands()
        while true {
            // SAFETY: the socket is open and belongs to this thread.
            let code = unsafe message.withMutableStorage { unsafe zmq_msg_send($0, socket, flags) }
            if code >= 0 { return .sent }
            switch zmq_errno() {
            case EAGAIN: return .wouldBlock
            case EHOSTUNREACH: return .unreachable
            case EINTR: continue
            default: throw .last("send on", "\(kind) socket")
            }
        }
    }

    /// Sends one message to a connection of this ROUTER (rule 3: full is not gone).
    ///
    /// Whether it can be queued is decided with the identity frame, before `message` is touched.
    package func send(
        to peer: RoutingID, _ message: inout Message
    ) throws(ZeroMQError) -> SendOutcome {
        precondition(kind == .router, "only a ROUTER addresses its peers")
        var identity = try Message(count: RoutingID.byteCount) { target in
            for (index, byte) in peer.bytes.enumerated() { target[index] = byte }
        }
        let outcome = try send(&identity, more: true)
        guard outcome == .sent else { return outcome }
        // With the identity accepted the pipe takes the body, whatever the high-water mark.
        return try send(&message)
    }

    /// Receives one frame; nil when nothing is there.
    package func receive() throws(ZeroMQError) -> Message? {
        let socket = try unsafe raw()
        var message = Message()
        while true {
            // SAFETY: the socket is open and belongs to this thread.
            let code = unsafe message.withMutableStorage {
                unsafe zmq_msg_recv($0, socket, ZMQ_DONTWAIT)
            }
            if code >= 0 {
                tookCommands()
                return message
            }
            switch zmq_errno() {
            case EAGAIN:
                foundNoMessage()
                return nil
            case EINTR: continue
            default: throw .last("receive on", "\(kind) socket")
            }
        }
    }

    /// Receives one message of a ROUTER with its sender; nil when nothing is there.
    package func receiveRouted() throws(ZeroMQError) -> RoutedMessage? {
        precondition(kind == .router, "only a ROUTER receives identities")
        for _ in 0..<Self.partLimit {
            guard let identity = try receive() else { return nil }
            guard identity.hasMore, let body = try receive() else { continue }
            let partCount = try 1 + (body.hasMore ? discardRest() : 0)
            // Rule 6: an identity which the peer chose is not used at all.
            guard let sender = identity.withBytes({ RoutingID($0) }) else {
                countForeignIdentity()
                continue
            }
            return RoutedMessage(sender: sender, body: body, partCount: partCount)
        }
        // Still readable: the poller reports it again, after others had their turn.
        return nil
    }

    /// Discards the remaining frames of the message being read; returns how many.
    ///
    /// libzmq hands over multipart messages only when they are complete, so this never waits; the
    /// high-water mark does not bound the parts of one message, MAXMSGSIZE bounds each.
    @discardableResult
    package func discardRest() throws(ZeroMQError) -> Int {
        var count = 0
        while let part = try receive() {
            count += 1
            if !part.hasMore { break }
        }
        return count
    }
}
