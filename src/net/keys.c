/* SPDX-License-Identifier: BSD-3-Clause */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
key_generate(uint8_t private_key[32])
{
	if (sodium_init() < 0)
		return -EIO;
	randombytes_buf(private_key, 32);
	return 0;
}

void
key_public(const uint8_t private_key[32], uint8_t public_key[32])
{
	crypto_scalarmult_base(public_key, private_key);
}

static int
check_file(int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_set(e, errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "not a regular file");
	if (st.st_uid != geteuid())
		return err_set(e, EPERM, "belongs to uid %u, not to uid %u that runs this program", st.st_uid,
			geteuid());
	if ((st.st_mode & 0177) != 0)
		return err_set(
			e, EPERM, "mode is %04o: others could read it; chmod 600 it", st.st_mode & 07777);
	return 0;
}

/* One line of base64 and nothing else. */
static int
read_key(int fd, uint8_t private_key[32], struct err *e)
{
	char text[64];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	int rc;

	if (n < 0)
		return err_set(e, errno, "%s", strerror(errno));
	text[n] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	rc = strlen(text) == (size_t)n ? key_parse(text, private_key) : -EINVAL;
	if (rc != 0)
		rc = err_set(e, EINVAL,
			rc == -EDOM ? "the key is zero" : "not one line of base64 that is 32 bytes");
	sodium_memzero(text, sizeof(text));
	return rc;
}

int
key_load(const char *file, uint8_t private_key[32], struct err *e)
{
	int fd, rc;

	if (sodium_init() < 0)
		return err_set(e, EIO, "libsodium does not start");
	/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT)
			return err_set(e, ENOENT, "key file %s: missing; make one with keygen", file);
		return err_set(e, errno, "key file %s: %s", file, strerror(errno));
	}
	rc = check_file(fd, e);
	if (rc == 0)
		rc = read_key(fd, private_key, e);
	close(fd);
	if (rc == 0)
		return 0;
	sodium_memzero(private_key, 32);
	return err_wrap(e, "key file %s", file), rc;
}

int
key_save(const char *file, const uint8_t private_key[32], struct err *e)
{
	char text[KEY_TEXT + 1];
	int fd, rc = 0;

	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, "key file %s: %s", file,
			errno == EEXIST ? "is there already" : strerror(errno));
	key_format(private_key, text);
	text[KEY_TEXT - 1] = '\n';
	if (fchmod(fd, 0600) != 0 || write(fd, text, KEY_TEXT) != KEY_TEXT || fsync(fd) != 0)
		rc = err_set(e, errno, "key file %s: %s", file, strerror(errno));
	sodium_memzero(text, sizeof(text));
	close(fd);
	if (rc != 0)
		unlink(file);
	return rc;
}

int
key_make(const char *file, uint8_t public_key[32], struct err *e)
{
	uint8_t key[32];
	int rc;

	if (key_generate(key) != 0)
		return err_set(e, EIO, "libsodium does not start");
	rc = key_save(file, key, e);
	if (rc == 0)
		key_public(key, public_key);
	sodium_memzero(key, sizeof(key));
	return rc;
}

int
key_load_public(const char *file, uint8_t public_key[32], struct err *e)
{
	uint8_t key[32];
	int rc = key_load(file, key, e);

	if (rc == 0)
		key_public(key, public_key);
	sodium_memzero(key, sizeof(key));
	return rc;
}
