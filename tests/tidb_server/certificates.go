package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeCertificates makes an authority, ca.pem, and what it signed: server, wrong-host,
// expired and client, each a .pem and a .key. other-ca.pem signed none of them.
func writeCertificates(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority("jtv test authority")
	if err != nil {
		return err
	}
	other, err := newAuthority("another authority")
	if err != nil {
		return err
	}
	year := 365 * 24 * time.Hour
	localhost := []string{"127.0.0.1", "::1", "localhost"}
	for _, leaf := range []struct {
		name   string
		hosts  []string
		expiry time.Duration
	}{
		{"server", localhost, year},
		{"wrong-host", []string{"wrong-host.example"}, year},
		{"expired", localhost, -time.Hour},
		{"client", nil, year},
	} {
		certificate, key, err := ca.sign(leaf.name, leaf.hosts, time.Now().Add(leaf.expiry))
		if err != nil {
			return err
		}
		if err := write(folder, leaf.name+".pem", "CERTIFICATE", certificate); err != nil {
			return err
		}
		if err := write(folder, leaf.name+".key", "PRIVATE KEY", key); err != nil {
			return err
		}
	}
	if err := write(folder, "ca.pem", "CERTIFICATE", ca.certificate.Raw); err != nil {
		return err
	}
	return write(folder, "other-ca.pem", "CERTIFICATE", other.certificate.Raw)
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := newTemplate(name, time.Now().Add(365*24*time.Hour))
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return &authority{certificate, key}, err
}

// sign returns a certificate and its key, both DER.
func (ca *authority) sign(name string, hosts []string, expiry time.Time) (raw, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := newTemplate(name, expiry)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	raw, err = x509.CreateCertificate(rand.Reader, template, ca.certificate, private.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return raw, key, err
}

func newTemplate(name string, expiry time.Time) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     expiry,
	}
}

func write(folder, name, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(folder, name), text, 0o600)
}
