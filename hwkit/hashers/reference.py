"""cpu:reference, the Python kernel: hashlib, one nonce after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwkit.hashers.native import check_question
from hwkit.protocols import Hit
from hwkit.sha256d import sha256d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.work import Target


class ReferenceKernel:
    """Asks hashlib about every nonce."""

    name = "cpu:reference"
    lanes = 1
    capacity = 1024  # it has no buffer; the prover asks past this many all the same

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        """Return all hits; see Kernel.scan."""
        check_question(header, nonces, versions)
        limit = target.value
        choices = [
            (version, version.to_bytes(4, "little") + header[4:76])
            for version in versions or (int.from_bytes(header[:4], "little"),)
        ]
        return [
            Hit(nonce, version)
            for nonce in nonces
            for version, prefix in choices
            if int.from_bytes(sha256d(prefix + nonce.to_bytes(4, "little")), "little") <= limit
        ]
