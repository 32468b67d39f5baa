"""The practice exchange: the simulated venue behind Binance's spot and USD-M protocol.

A client of Binance trades here once its URLs are set: REST, market streams, user streams
and the WebSocket API, on 127.0.0.1. Facts about the protocol are from Binance's public API
documentation (developers.binance.com) and from what the ccxt client asks and reads.
"""
