"""Clients: the one in use, and whether it is connected."""

from __future__ import annotations

from distributed import Client, default_client

__all__ = ["check_connected", "client_in_use"]


def client_in_use(client: Client | None) -> Client:
    """Return a client that is connected: the given one or, without, the current one.

    Raises
    ------
    ValueError
        If there is none, or it is closed.
    """
    if client is None:
        try:
            client = default_client()
        except ValueError as error:
            raise ValueError(
                "client is None, and there is no current client: make a distributed.Client, or "
                "give the constructor one"
            ) from error
    check_connected(client)
    return client


def check_connected(client: Client) -> None:
    """Check that a client has not been closed.

    Raises
    ------
    ValueError
        If it has.
    """
    if client.status in ("closing", "closed"):
        raise ValueError(
            f"client is {client.status}: give the constructor one that is connected to a cluster"
        )
