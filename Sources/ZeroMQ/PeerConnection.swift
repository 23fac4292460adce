internal import Glibc

/// The TCP connection behind a received message.
package enum PeerConnection {
    /// Cuts off the peer which sent a message, by `Message.sourceDescriptor`.
    ///
    /// A bound ROUTER of libzmq 4.3.4 cannot drop one peer, so a revoked one is disconnected at the
    /// descriptor; revoke its key first, so that ZAP refuses the reconnect. The descriptor must come
    /// from the peer's latest message: once its connection has ended the number may belong to
    /// another (whose only harm is a reconnect).
    package static func shutdown(descriptor: Int32) throws(ZeroMQError) {
        guard Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) == 0 || errno == ENOTCONN else {
            throw .system("shut down", "descriptor \(descriptor)")
        }
    }
}
