/**
 * Constants of the network device. Names: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Network Device".
 */
export const VIRTIO_ID_NETWORK = 1;

export const VIRTIO_NET_F_CSUM = 0n;
export const VIRTIO_NET_F_GUEST_CSUM = 1n;
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2n;
export const VIRTIO_NET_F_MAC = 5n;
export const VIRTIO_NET_F_GUEST_TSO4 = 7n;
export const VIRTIO_NET_F_GUEST_TSO6 = 8n;
export const VIRTIO_NET_F_GUEST_ECN = 9n;
export const VIRTIO_NET_F_HOST_TSO4 = 11n;
export const VIRTIO_NET_F_HOST_TSO6 = 12n;
export const VIRTIO_NET_F_HOST_ECN = 13n;
export const VIRTIO_NET_F_MRG_RXBUF = 15n;
export const VIRTIO_NET_F_STATUS = 16n;
export const VIRTIO_NET_F_CTRL_VQ = 17n;
export const VIRTIO_NET_F_CTRL_RX = 18n;
export const VIRTIO_NET_F_CTRL_VLAN = 19n;
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20n;
export const VIRTIO_NET_F_MQ = 22n;
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23n;

/** A feature's bit among the low 32. */
export const bit = (feature: bigint): number => (1 << Number(feature)) >>> 0;

/** Offloads that CTRL_GUEST_OFFLOADS_SET switches: the bits are those of the features. */
export const GUEST_OFFLOADS =
  bit(VIRTIO_NET_F_GUEST_CSUM) |
  bit(VIRTIO_NET_F_GUEST_TSO4) |
  bit(VIRTIO_NET_F_GUEST_TSO6) |
  bit(VIRTIO_NET_F_GUEST_ECN);

/** struct virtio_net_config. */
export const CONFIG_MAC = 0;
export const CONFIG_STATUS = 6;
export const CONFIG_MAX_VIRTQUEUE_PAIRS = 8;
export const CONFIG_BYTES = 10;
export const VIRTIO_NET_S_LINK_UP = 1;

/** struct virtio_net_hdr, with num_buffers. */
export const HEADER_BYTES = 12;
export const HDR_FLAGS = 0;
export const HDR_GSO_TYPE = 1;
export const HDR_HDR_LEN = 2;
export const HDR_GSO_SIZE = 4;
export const HDR_CSUM_START = 6;
export const HDR_CSUM_OFFSET = 8;
export const HDR_NUM_BUFFERS = 10;
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
export const VIRTIO_NET_HDR_F_DATA_VALID = 2;
export const VIRTIO_NET_HDR_GSO_NONE = 0;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
export const VIRTIO_NET_HDR_GSO_ECN = 0x80;

/** Control virtqueue: class, command, data; the device answers one byte. */
export const VIRTIO_NET_OK = 0;
export const VIRTIO_NET_ERR = 1;
export const VIRTIO_NET_CTRL_RX = 0;
export const VIRTIO_NET_CTRL_RX_PROMISC = 0;
export const VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
export const VIRTIO_NET_CTRL_RX_ALLUNI = 2;
export const VIRTIO_NET_CTRL_RX_NOBCAST = 5;
export const VIRTIO_NET_CTRL_MAC = 1;
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0;
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
export const VIRTIO_NET_CTRL_VLAN = 2;
export const VIRTIO_NET_CTRL_VLAN_ADD = 0;
export const VIRTIO_NET_CTRL_VLAN_DEL = 1;
export const VIRTIO_NET_CTRL_MQ = 4;
export const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0;
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5;
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0;
