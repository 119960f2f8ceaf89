# SPDX-License-Identifier: BSD-3-Clause
"""Noise_IKpsk2_25519_ChaChaPoly_SHA256 (revision 34), the initiator's side. No I/O.

docs/controller-protocol.md, section 2. `Handshake` makes message 1 and reads message 2; then `split` gives the two ciphers.
"""
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAME = b'Noise_IKpsk2_25519_ChaChaPoly_SHA256'
KEY, TAG = 32, 16
NO_PSK = bytes(KEY)
MESSAGE_1 = KEY + KEY + TAG + TAG
MESSAGE_2 = KEY + TAG


class NoiseError(Exception):
    """A message that is not what the holder of the expected key would have sent."""


def public_key(private):
    """The public key of a private one; both are 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(private, public):
    """X25519. NoiseError for a public key of small order, whose result would be all zero."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as e:
        raise NoiseError('a public key of small order') from e


def hkdf(chaining_key, material, n):
    """Noise's HKDF: n keys of 32 bytes."""
    secret = hmac.digest(chaining_key, material, 'sha256')
    keys, last = [], b''
    for i in range(1, n + 1):
        last = hmac.digest(secret, last + bytes([i]), 'sha256')
        keys.append(last)
    return keys


class Cipher:
    """A CipherState: a key and the nonce of the next message."""

    def __init__(self, key):
        self._aead, self._n = ChaCha20Poly1305(key), 0

    def _nonce(self):
        self._n += 1
        return bytes(4) + (self._n - 1).to_bytes(8, 'little')

    def seal(self, plaintext, associated=b''):
        return self._aead.encrypt(self._nonce(), plaintext, associated)

    def open(self, ciphertext, associated=b''):
        """The plaintext; NoiseError when the tag is wrong."""
        try:
            return self._aead.decrypt(self._nonce(), ciphertext, associated)
        except InvalidTag as e:
            raise NoiseError('a message that does not decrypt') from e


class Handshake:
    """The initiator. `hash` is the handshake hash once message 2 was read.

    private: the client's static key; router: the router's public one; psk: of the pair; ephemeral: a fresh private key,
    given by tests alone.
    """

    def __init__(self, prologue, private, router, psk=NO_PSK, ephemeral=None):
        self._s, self._rs, self._psk = private, router, psk
        self._e = ephemeral or os.urandom(KEY)
        self.hash = self._ck = hashlib.sha256(NAME).digest()
        self._cipher = None
        self._mix_hash(prologue)
        self._mix_hash(router)

    def _mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def _mix_key(self, material):
        self._ck, key = hkdf(self._ck, material, 2)
        self._cipher = Cipher(key)

    def _mix_key_and_hash(self, material):
        self._ck, mixed, key = hkdf(self._ck, material, 3)
        self._mix_hash(mixed)
        self._cipher = Cipher(key)

    def _mix_ephemeral(self, public):
        """With a psk an ephemeral key goes into the chaining key, too."""
        self._mix_hash(public)
        self._mix_key(public)

    def _seal(self, plaintext):
        sealed = self._cipher.seal(plaintext, self.hash)
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed):
        plaintext = self._cipher.open(sealed, self.hash)
        self._mix_hash(sealed)
        return plaintext

    def message_1(self):
        """-> e, es, s, ss: 96 bytes."""
        e = public_key(self._e)
        self._mix_ephemeral(e)
        self._mix_key(dh(self._e, self._rs))
        s = self._seal(public_key(self._s))
        self._mix_key(dh(self._s, self._rs))
        return e + s + self._seal(b'')

    def read_message_2(self, message):
        """<- e, ee, se, psk: 48 bytes. NoiseError when it was not made by the router for this client and psk."""
        if len(message) != MESSAGE_2:
            raise NoiseError(f'message 2 has {len(message)} bytes, not {MESSAGE_2}')
        e = message[:KEY]
        self._mix_ephemeral(e)
        self._mix_key(dh(self._e, e))
        self._mix_key(dh(self._s, e))
        self._mix_key_and_hash(self._psk)
        self._open(message[KEY:])

    def split(self):
        """(cipher to send, cipher to receive)"""
        send, receive = hkdf(self._ck, b'', 2)
        return Cipher(send), Cipher(receive)
